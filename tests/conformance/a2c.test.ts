/**
 * A2C as PPO's one-update case: with one pass over the batch, one mini-batch and no clip of the values, the policy's gradient is
 * that of −A·log π and the critic's loss is ½(V − G)², whatever the bounds of the ratio, which is exactly 1.
 */
import { fc, test } from "@fast-check/vitest";
import { gradients } from "@oarlock/autodiff";
import { createGraph, evaluate } from "@oarlock/onnx";
import { criticLoss, generalisedAdvantages, grpoLoss } from "@oarlock/rl";
import { describe, expect } from "vitest";

const number = (min: number, max: number) => fc.double({ min, max, noNaN: true });
const token = fc.record({
  logprob: number(-12, -0.01),
  entropy: number(0, 4),
  reward: number(-2, 2),
  value: number(-2, 2),
});

describe("A2C", () => {
  test.prop([
    fc.array(token, { minLength: 1, maxLength: 12 }),
    fc.constantFrom(0, 1 / 64),
    fc.constantFrom(0, 3),
  ])("is one update of PPO", (tokens, entropyCoefficient, dual) => {
    const count = tokens.length;
    // λ = 1, γ = 1: A = Σ rewards to come − V, as A2C has it.
    const { advantages, returns } = generalisedAdvantages(
      tokens.map(({ reward }) => reward),
      tokens.map(({ value }) => value),
      { gamma: 1, lambda: 1 },
    );
    const graph = createGraph("a2c");
    const input = (name: string) => graph.input(name, "float32", [count]);
    const [logprobs, oldLogprobs, entropy] = [input("logprobs"), input("oldLogprobs"), input("entropy")];
    const policy = grpoLoss(
      { logprobs, oldLogprobs, entropy, advantages: input("advantages"), weight: input("weight") },
      { clip: { low: 0.2, high: 0.2, dual }, entropyCoefficient },
    );
    const values = input("values");
    const oldValues = input("oldValues");
    const critic = criticLoss({ values, oldValues, returns: input("returns"), weight: input("weight2") }, 0);
    const [ofPolicy] = gradients(policy.loss, [logprobs]);
    const [ofCritic] = gradients(critic.loss, [values]);
    graph.output("policy", ofPolicy!);
    graph.output("critic", ofCritic!);
    const feed = (data: ArrayLike<number>) => ({ shape: [count], data: Array.from(data) });
    const column = (of: (one: (typeof tokens)[number]) => number) => feed(tokens.map(of));
    const weight = column(() => 1 / count);
    const found = evaluate(graph, {
      logprobs: column(({ logprob }) => logprob),
      oldLogprobs: column(({ logprob }) => logprob),
      entropy: column(({ entropy: one }) => one),
      advantages: feed(advantages),
      weight,
      values: column(({ value }) => value),
      oldValues: column(({ value }) => value),
      returns: feed(returns),
      weight2: weight,
    });
    tokens.forEach(({ value }, t) => {
      const toCome = tokens.slice(t).reduce((sum, { reward }) => sum + reward, 0);
      expect(Number(found["policy"]?.data[t])).toBeCloseTo(-(toCome - value) / count, 9);
      expect(Number(found["critic"]?.data[t])).toBeCloseTo((value - toCome) / count, 9);
    });
  });
});
