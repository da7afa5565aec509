/**
 * A2C as PPO's one-update case: with one pass over the batch, one mini-batch and no clip of the values, the policy's gradient is
 * that of −A·log π and the critic's that of ½(V − G)², whatever the bounds of the ratio, which is exactly 1.
 */
import { gradients } from "@oarlock/autodiff";
import { createGraph, evaluate } from "@oarlock/onnx";
import { criticLoss, generalisedAdvantages, grpoLoss } from "@oarlock/rl";
import fc from "fast-check";
import { expect, test } from "vitest";

type Token = Record<"logprob" | "entropy" | "reward" | "value", number>;
const number = (min: number, max: number) => fc.double({ min, max, noNaN: true });
const token: fc.Arbitrary<Token> = fc.record({
  logprob: number(-12, -0.01),
  entropy: number(0, 4),
  reward: number(-2, 2),
  value: number(-2, 2),
});

/** The gradients of PPO's two losses by log-probs and values, where old and new are the same. */
function ppoGradients(tokens: readonly Token[], entropyCoefficient: number, dual: number) {
  // γ = λ = 1: A = Σ rewards to come − V, as A2C has it.
  const rewards = tokens.map(({ reward }) => reward);
  const values = tokens.map(({ value }) => value);
  const { advantages, returns } = generalisedAdvantages(rewards, values, { gamma: 1, lambda: 1 });
  const logprobs = tokens.map(({ logprob }) => logprob);
  const feeds = {
    logprobs,
    oldLogprobs: logprobs,
    entropy: tokens.map(({ entropy }) => entropy),
    advantages,
    weight: tokens.map(() => 1 / tokens.length),
    values,
    oldValues: values,
    returns,
  };
  const graph = createGraph("a2c");
  const [now, old, entropy, advantage, weight, value, oldValue, target] = Object.keys(feeds).map((name) =>
    graph.input(name, "float32", [tokens.length]),
  );
  const policy = grpoLoss(
    { logprobs: now!, oldLogprobs: old!, entropy: entropy!, advantages: advantage!, weight: weight! },
    { clip: { low: 0.2, high: 0.2, dual }, entropyCoefficient },
  );
  const critic = criticLoss({ values: value!, oldValues: oldValue!, returns: target!, weight: weight! }, 0);
  graph.output("policy", gradients(policy.loss, [now!])[0]!);
  graph.output("critic", gradients(critic.loss, [value!])[0]!);
  const fed = Object.entries(feeds).map(([name, data]) => [
    name,
    { shape: [tokens.length], data: Array.from(data) },
  ]);
  return evaluate(graph, Object.fromEntries(fed));
}

test("A2C is one update of PPO", () => {
  fc.assert(
    fc.property(
      fc.array(token, { minLength: 1, maxLength: 12 }),
      fc.constantFrom(0, 1 / 64),
      fc.constantFrom(0, 3),
      (tokens, entropyCoefficient, dual) => {
        const found = ppoGradients(tokens, entropyCoefficient, dual);
        tokens.forEach(({ value }, t) => {
          const toCome = tokens.slice(t).reduce((sum, { reward }) => sum + reward, 0);
          expect(Number(found["policy"]?.data[t])).toBeCloseTo(-(toCome - value) / tokens.length, 9);
          expect(Number(found["critic"]?.data[t])).toBeCloseTo((value - toCome) / tokens.length, 9);
        });
      },
    ),
  );
});
