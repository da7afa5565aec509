import { FinishReason, TrajectoryBatchSchema, create } from "@oarlock/proto";
import type { TrajectoryBatch } from "@oarlock/proto";
import { bytesOf } from "@oarlock/runtime";
import { describe, expect, it } from "vitest";
import { scoredHead } from "./messages.ts";

const expectation = { isScored: () => true, referenceOf: () => undefined, criticOf: () => undefined };

/** One sample: a prompt of 2 tokens, a completion of 3, and so many log-probs. */
const batchWith = (logprobs: number): TrajectoryBatch =>
  create(TrajectoryBatchSchema, {
    group: { runUid: "run", group: 4 },
    incarnation: 1,
    trajectories: [
      {
        tokenIds: [1, 2, 3, 4, 5],
        promptLength: 2,
        behaviourLogprobs: bytesOf(new Float32Array(logprobs)),
        segments: [{ start: 2, end: 5, policy: { version: 7, digest: "abc" } }],
        finishReason: FinishReason.STOP,
      },
    ],
  });

describe("the head of a scored message", () => {
  it("names the group, the policy of every token and each sample's verdict", () => {
    const head = scoredHead(batchWith(3), expectation);
    expect(head.identity).toMatchObject({ uid: "run", group: 4 });
    expect(head.policies).toEqual([{ number: 7, digest: "abc" }]);
    expect(head.samples).toEqual([{ sample: 0, status: "scored" }]);
  });

  it.each([0, 2, 4])("refuses %i log-probs for 3 tokens", (logprobs) => {
    const read = (): unknown => scoredHead(batchWith(logprobs), expectation);
    expect(read).toThrow(`sample 0: ${logprobs * 4} bytes of behaviour log-probs; its completion needs 12`);
  });
});
