/** S1: what fails a sample. */
import { NamedRewardSchema, TrajectorySchema, create } from "@oarlock/proto";
import type { ResolvedReward } from "@oarlock/runfile";
import { describe, expect, test } from "vitest";
import { sampleReward } from "./sample-reward.ts";

const scorer = (name: string, weight: number, optional: boolean): ResolvedReward => ({
  name,
  type: "exact",
  weight,
  optional,
  heldOut: false,
  timeoutMs: 1_000,
  exact: { field: "answer", caseSensitive: true, trim: true },
});
/** Of scorers by name; null: it failed. */
const trajectory = (scores: Readonly<Record<string, number | null>>) =>
  create(TrajectorySchema, {
    rewards: Object.entries(scores).map(([name, value]) =>
      create(NamedRewardSchema, {
        name,
        verdict:
          value === null
            ? { case: "failed", value: { code: "SCORER_UNREACHABLE", reason: "gone" } }
            : { case: "scored", value: { values: [value] } },
      }),
    ),
  });

describe("a sample's reward", () => {
  const scorers = [scorer("judge", 2, true), scorer("style", 1, true), scorer("length", 0, true)];

  test.each<[Readonly<Record<string, number | null>>, number | undefined]>([
    [{ judge: 3, style: 1, length: 9 }, 7],
    [{ judge: null, style: 1, length: 9 }, 1],
    [{ judge: null, style: -0, length: null }, 0],
    [{ judge: null, style: null, length: 9 }, undefined],
    [{ judge: null, style: null, length: null }, undefined],
    [{}, undefined],
  ])("S1: of optional scorers alone, %j is %s", (scores, total) => {
    expect(sampleReward(trajectory(scores), scorers).total).toBe(total);
  });

  test("says why there is none", () => {
    expect(sampleReward(trajectory({ judge: null, style: null }), scorers).failure).toBe(
      "judge: SCORER_UNREACHABLE: gone",
    );
  });

  test.each([
    [{ judge: 1e39 }, "judge gave 1e+39"],
    [{ judge: 3e38 }, "the weighted sum is 6e+38: beyond float32"],
  ])("S1, T3: %j is none: it does not fit float32", (scores, failure) => {
    const all = [scorer("judge", 2, false)];
    expect(sampleReward(trajectory(scores), all)).toMatchObject({ total: undefined, failure });
  });

  test("is 0 where nothing is weighed: such scorers are watched, no more", () => {
    expect(sampleReward(trajectory({ length: null }), [scorer("length", 0, false)]).total).toBe(0);
  });
});
