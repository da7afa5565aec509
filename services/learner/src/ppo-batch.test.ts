/** PPO's batch against rl's formulas, token by token, and what it leaves alone. */
import { generalisedAdvantages, tokenRewards, whiten } from "@oarlock/rl";
import type { ResolvedPpo } from "@oarlock/runfile";
import { describe, expect, test } from "vitest";
import { assemblePpoBatch } from "./ppo-batch.ts";
import type { PpoSample } from "./ppo-batch.ts";

type Settings = Pick<
  ResolvedPpo,
  "gamma" | "lambda" | "rewardClip" | "whitenRewards" | "whitenAdvantages" | "kl"
>;
const settings: Settings = {
  gamma: 0.9,
  lambda: 0.8,
  rewardClip: 10,
  whitenRewards: false,
  whitenAdvantages: false,
  kl: { placement: "reward", estimator: "k1", coefficient: 9, controller: "fixed", target: 6, horizon: 1 },
};
const plan = (change: Partial<Settings> = {}): ResolvedPpo =>
  // The batch reads these fields alone.
  ({ ...settings, ...change }) as ResolvedPpo;

/** Two prompt tokens, `length` of completion. */
function sample(length: number, score: number): PpoSample {
  const count = length + 2;
  const wave = (scale: number) =>
    Float32Array.from({ length: count }, (_, t) => (t < 2 ? 7 : scale * Math.sin(t)));
  return {
    row: {
      tokens: new Int32Array(count),
      promptLength: 2,
      lossMask: Uint8Array.from({ length: count }, (_, t) => (t < 2 ? 0 : 1)),
    },
    score,
    logprobs: wave(-1),
    refLogprobs: wave(-0.5),
    values: wave(0.3),
  };
}
const samples = [sample(3, 1), sample(5, -20)];
const completion = (array: ArrayLike<number>): number[] => Array.from(array).slice(2);
const BETA = 0.1;

function expected({ logprobs, refLogprobs, values, score }: PpoSample) {
  const gaps = completion(logprobs).map((value, t) => value - completion(refLogprobs!)[t]!);
  const rewards = tokenRewards(score, gaps, { kl: { estimator: "k1", coefficient: BETA }, clip: 10 });
  return { rewards, ...generalisedAdvantages(rewards, completion(values), settings) };
}

describe("a PPO batch", () => {
  test("has the rewards, advantages and returns of every token, with the β of the step", () => {
    const { rows, rewards } = assemblePpoBatch(samples, plan(), BETA);
    samples.forEach((one, i) => {
      const own = expected(one);
      expect(completion(rows[i]!.advantages!)).toEqual(Array.from(Float32Array.from(own.advantages)));
      expect(completion(rows[i]!.returns!)).toEqual(Array.from(Float32Array.from(own.returns)));
      expect(rewards[i]).toBeCloseTo(
        own.rewards.reduce((a, b) => a + b),
        9,
      );
      expect(Array.from(rows[i]!.advantages!.subarray(0, 2))).toEqual([0, 0]);
    });
  });

  test("whitens advantages over all tokens of the batch, and never the returns", () => {
    const plain = assemblePpoBatch(samples, plan(), BETA);
    const white = assemblePpoBatch(samples, plan({ whitenAdvantages: true }), BETA);
    const all = whiten(samples.flatMap((one) => [...expected(one).advantages]));
    expect(white.rows.flatMap(({ advantages }) => completion(advantages!))).toEqual(
      Array.from(Float32Array.from(all)),
    );
    expect(white.rows.map(({ returns }) => returns)).toEqual(plain.rows.map(({ returns }) => returns));
  });

  test("with the KL in the loss has none in the rewards, and measures it all the same", () => {
    const { rewards, kl } = assemblePpoBatch(
      samples,
      plan({ kl: { ...settings.kl, placement: "loss" } }),
      BETA,
    );
    expect(rewards).toEqual([1, -10]);
    const perSample = samples.map(({ logprobs, refLogprobs }) =>
      completion(logprobs).reduce((total, value, t) => total + value - completion(refLogprobs!)[t]!, 0),
    );
    expect(kl).toBeCloseTo((perSample[0]! + perSample[1]!) / 2, 9);
  });

  test("scores of tokens are rewards of their tokens: none of them is moved to the end, and all of them count", () => {
    const plain = { ...sample(3, 0), refLogprobs: undefined };
    const spread = { ...plain, score: 2, tokenScores: new Map([[3, -1]]) };
    const open = plan({ gamma: 1, lambda: 1 });
    const [row] = assemblePpoBatch([spread], open, 0).rows;
    // With γ = λ = 1 a return is the sum of the rewards from its token on.
    expect([...(row?.returns ?? [])].map((value) => value + 0)).toEqual([0, 0, 1, 1, 2]);
    expect(assemblePpoBatch([spread], open, 0).rewards).toEqual([1]);
  });
});
