import { fc, test } from "@fast-check/vitest";
import { describe, expect } from "vitest";
import { ADVANTAGES, groupAdvantages } from "./advantages.ts";
import { AGGREGATIONS, tokenWeights } from "./aggregation.ts";
import { klEstimate } from "./kl.ts";
import { estimateScore, estimateShare, passAtK } from "./pass-at-k.ts";
import { surrogateLoss } from "./policy-loss.ts";

const reward = fc.double({ min: -10, max: 10, noNaN: true });
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

describe("group advantages", () => {
  test.prop([fc.array(reward, { minLength: 2, maxLength: 16 })])("sum to 0 over the group", (rewards) => {
    for (const name of ADVANTAGES) {
      const advantages = groupAdvantages(name, rewards).map((value) => value ?? Number.NaN);
      expect(Math.abs(sum(advantages))).toBeLessThan(1e-6);
    }
  });

  test.prop([fc.array(reward, { minLength: 2, maxLength: 8 }), fc.nat(8)])(
    "S1: a failed sample changes nothing for the others and gets no advantage",
    (rewards, position) => {
      const at = Math.min(position, rewards.length);
      const withFailure = [...rewards.slice(0, at), undefined, ...rewards.slice(at)];
      for (const name of ADVANTAGES) {
        const advantages = groupAdvantages(name, withFailure);
        expect(advantages[at]).toBeUndefined();
        expect(advantages.filter((_, i) => i !== at)).toEqual(groupAdvantages(name, rewards));
      }
    },
  );

  test("equal rewards, and a group of one, give exactly 0", () => {
    expect(groupAdvantages("grpo", [0.1, 0.1, 0.1])).toEqual([0, 0, 0]);
    expect(groupAdvantages("grpo", [5])).toEqual([0]);
    expect(groupAdvantages("dr-grpo", [5, undefined])).toEqual([0, undefined]);
  });
});

describe("token weights", () => {
  const masks = fc.array(
    fc
      .array(fc.integer({ min: 0, max: 1 }), { minLength: 1, maxLength: 12 })
      .map((flags) => Uint8Array.from(flags)),
    { minLength: 1, maxLength: 8 },
  );

  test.prop([masks])("are 0 outside of the mask and positive inside", (rows) => {
    for (const aggregation of AGGREGATIONS) {
      const weights = tokenWeights(
        aggregation,
        rows.map((mask) => ({ mask, group: 0 })),
        { maxLength: 12 },
      );
      rows.forEach((mask, i) =>
        mask.forEach((flag, t) => expect((weights[i]?.[t] ?? 0) > 0).toBe(flag === 1)),
      );
    }
  });

  test.prop([masks])("the three means give weights that sum to 1", (rows) => {
    fc.pre(rows.some((mask) => mask.includes(1)));
    const batch = rows.map((mask, i) => ({ mask, group: i >> 1 }));
    for (const aggregation of ["token-mean-global", "token-mean-group", "seq-mean-token-mean"] as const) {
      expect(sum(tokenWeights(aggregation, batch).flatMap((row) => [...row]))).toBeCloseTo(1, 5);
    }
  });

  test("dr-grpo asks for its constant", () => {
    expect(() => tokenWeights("dr-grpo", [{ mask: Uint8Array.of(1) }])).toThrow(/maxLength/);
  });
});

describe("KL estimators", () => {
  test.prop([fc.double({ min: -15, max: 15, noNaN: true })])(
    "k3 is never negative, and 0 only at equality",
    (gap) => {
      expect(klEstimate("k3", gap)).toBeGreaterThanOrEqual(0);
      if (Math.abs(gap) > 1e-4) expect(klEstimate("k3", gap)).toBeGreaterThan(0);
      expect(klEstimate("k3", 0)).toBe(0);
    },
  );
});

describe("the clipped surrogate", () => {
  const logprob = fc.double({ min: -8, max: 0, noNaN: true });

  test.prop([logprob, logprob, reward])(
    "is a pessimistic bound of the unclipped one",
    (now, before, advantage) => {
      const loss = surrogateLoss({ logprob: now, oldLogprob: before, advantage }, { low: 0.2, high: 0.28 });
      expect(loss).toBeGreaterThanOrEqual(-Math.exp(now - before) * advantage - 1e-9);
    },
  );

  test.prop([logprob, logprob, fc.double({ min: -10, max: -0.01, noNaN: true })])(
    "with a dual clip never exceeds c times the advantage",
    (now, before, advantage) => {
      const loss = surrogateLoss(
        { logprob: now, oldLogprob: before, advantage },
        { low: 0.2, high: 0.2, dual: 3 },
      );
      expect(loss).toBeLessThanOrEqual(3 * -advantage + 1e-9);
    },
  );
});

describe("evaluation estimates", () => {
  test.prop([fc.integer({ min: 1, max: 20 }), fc.nat(20)])(
    "pass@1 is the share of correct samples",
    (n, correct) => {
      const c = Math.min(correct, n);
      expect(passAtK(n, c, 1)).toBeCloseTo(c / n, 10);
      expect(passAtK(n, c, n)).toBe(c > 0 ? 1 : 0);
    },
  );

  test("intervals hold the mean; Wilson's stays inside [0, 1] at the ends", () => {
    expect(estimateShare(0, 10).low).toBe(0);
    expect(estimateShare(10, 10).high).toBeCloseTo(1, 12);
    expect(estimateShare(0, 10).high).toBeCloseTo(0.2775, 3); // Wilson 1927, n = 10
    expect(estimateScore([0, 0, 0])).toEqual(estimateShare(0, 3));
    expect(estimateScore([0.25, 0, 0, 0])).toMatchObject({ mean: 0.0625, low: 0 });
    expect(estimateScore([-3, 5]).low).toBeLessThan(-3);
  });
});
