import { NamedRewardSchema, TrajectorySchema, create } from "@oarlock/proto";
import { describe, expect, test } from "vitest";
import { checkPins } from "./scorer-pins.ts";

const trajectory = (scorerVersion: string, verdict: "scored" | "failed") =>
  create(TrajectorySchema, {
    group: { stage: 2, step: 3 },
    rewards: [
      create(NamedRewardSchema, {
        name: "helpful",
        scorerVersion,
        verdict:
          verdict === "scored"
            ? { case: "scored", value: { values: [1] } }
            : { case: "failed", value: { code: "REWARD_MODEL_FAILED", reason: "gone" } },
      }),
    ],
  });
const pins = new Map([["helpful", "sha256:abc"]]);

describe("pins of reward models", () => {
  test("W2: a score counts with the pinned digest only; a failure needs none (S1)", () => {
    expect(() => checkPins([trajectory("sha256:abc", "scored")], pins)).not.toThrow();
    expect(() => checkPins([trajectory("", "failed")], pins)).not.toThrow();
    expect(() => checkPins([trajectory("sha256:other", "scored")], pins)).toThrow(
      /SCORER_VERSION.*helpful scored with sha256:other; accepted in step 4: sha256:abc/,
    );
    expect(() => checkPins([trajectory("sha256:other", "scored")], new Map())).not.toThrow();
  });
});
