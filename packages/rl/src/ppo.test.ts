/** PPO's parts in plain numbers, by properties: GAE against the direct sum, whitening, token rewards, controllers, value loss. */
import { fc, test } from "@fast-check/vitest";
import { describe, expect } from "vitest";
import { generalisedAdvantages } from "./gae.ts";
import { klEstimate } from "./kl.ts";
import { nextKlCoefficient } from "./kl-controller.ts";
import { tokenRewards } from "./token-rewards.ts";
import { valueLoss } from "./value-loss.ts";
import { whiten } from "./whitening.ts";

const number = (min: number, max: number) => fc.double({ min, max, noNaN: true });
const steps = fc.array(fc.record({ reward: number(-5, 5), value: number(-5, 5) }), {
  minLength: 1,
  maxLength: 40,
});
const sum = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => a + b, 0);

describe("generalised advantages", () => {
  test.prop([steps, number(0, 1), number(0, 1)])(
    "are the direct sum Σ_l (γλ)^l δ_(t+l), returns are advantage + value",
    (tokens, gamma, lambda) => {
      const [rewards, values] = [tokens.map(({ reward }) => reward), tokens.map(({ value }) => value)];
      const { advantages, returns } = generalisedAdvantages(rewards, values, { gamma, lambda });
      const delta = rewards.map((reward, t) => reward + gamma * (values[t + 1] ?? 0) - values[t]!);
      for (let t = 0; t < rewards.length; t++) {
        let direct = 0;
        for (let l = 0; t + l < rewards.length; l++) direct += (gamma * lambda) ** l * delta[t + l]!;
        expect(Math.abs(advantages[t]! - direct)).toBeLessThan(1e-9);
        expect(returns[t]).toBe(advantages[t]! + values[t]!);
      }
    },
  );

  test.prop([steps])("with γ = λ = 1 are the return minus the value", (tokens) => {
    const [rewards, values] = [tokens.map(({ reward }) => reward), tokens.map(({ value }) => value)];
    const { advantages } = generalisedAdvantages(rewards, values, { gamma: 1, lambda: 1 });
    advantages.forEach((advantage, t) =>
      expect(advantage).toBeCloseTo(sum(rewards.slice(t)) - values[t]!, 9),
    );
  });

  test("refuse rewards and values that are not as many", () => {
    expect(() => generalisedAdvantages([1, 2], [0], { gamma: 1, lambda: 1 })).toThrow(
      /2 rewards and 1 values/,
    );
  });
});

describe("whitening", () => {
  test.prop([fc.array(number(-100, 100), { minLength: 2, maxLength: 50 })])(
    "gives mean 0 and variance 1, or keeps the mean where it is asked to",
    (values) => {
      fc.pre(Math.max(...values) - Math.min(...values) > 1);
      const centred = whiten(values);
      const mean = sum(centred) / centred.length;
      expect(mean).toBeCloseTo(0, 8);
      expect(sum(centred.map((value) => (value - mean) ** 2)) / (centred.length - 1)).toBeCloseTo(1, 6);
      expect(sum(whiten(values, { center: false })) / values.length).toBeCloseTo(
        sum(values) / values.length,
        8,
      );
    },
  );

  test("leaves what has no spread: one number as it is, equal numbers at 0", () => {
    expect(whiten([3])).toEqual(Float64Array.of(3));
    expect(whiten([2, 2, 2])).toEqual(Float64Array.of(0, 0, 0));
  });
});

describe("token rewards", () => {
  test.prop([number(-20, 20), fc.array(number(-5, 5), { minLength: 1, maxLength: 20 }), number(0, 1)])(
    "sum to the clipped score minus β · Σ KL",
    (score, gaps, coefficient) => {
      const rewards = tokenRewards(score, gaps, { kl: { estimator: "k1", coefficient }, clip: 10 });
      const kl = sum(gaps.map((gap) => klEstimate("k1", gap)));
      expect(sum(rewards)).toBeCloseTo(Math.min(Math.max(score, -10), 10) - coefficient * kl, 9);
    },
  );

  test("come with the last token alone where no KL is in the reward", () => {
    expect(tokenRewards(12, [1, 2, 3], { clip: 0 })).toEqual(Float64Array.of(0, 0, 12));
    expect(tokenRewards(12, [], { clip: 0 })).toEqual(new Float64Array(0));
  });
});

describe("KL controllers", () => {
  const adaptive = { type: "adaptive", target: 6, horizon: 10_000 } as const;

  test.prop([number(0.001, 10), number(0, 100), fc.integer({ min: 1, max: 1000 })])(
    "the adaptive one moves β towards the target, by a fifth per horizon at most",
    (beta, kl, samples) => {
      const next = nextKlCoefficient(beta, adaptive, { kl, samples });
      expect(Math.sign(next - beta)).toBe(Math.sign(kl - 6));
      expect(Math.abs(next / beta - 1)).toBeLessThanOrEqual((0.2 * samples) / 10_000 + 1e-12);
    },
  );

  test("W3: a KL that is no number moves nothing, one beyond all bounds moves β by the most", () => {
    expect(nextKlCoefficient(0.05, adaptive, { kl: Number.NaN, samples: 100 })).toBe(0.05);
    expect(nextKlCoefficient(0.05, adaptive, { kl: Infinity, samples: 10_000 })).toBeCloseTo(0.06, 12);
  });

  test("the fixed one keeps β", () => {
    expect(nextKlCoefficient(0.05, { ...adaptive, type: "fixed" }, { kl: 99, samples: 256 })).toBe(0.05);
  });
});

describe("the value loss", () => {
  const token = fc.record({ value: number(-5, 5), oldValue: number(-5, 5), return: number(-5, 5) });

  test.prop([token, number(0.01, 2)])("with a clip is never below the one without", (one, clip) => {
    expect(valueLoss(one, clip)).toBeGreaterThanOrEqual(valueLoss(one, 0));
    expect(valueLoss({ ...one, oldValue: one.value }, clip)).toBe(valueLoss(one, 0));
  });
});
