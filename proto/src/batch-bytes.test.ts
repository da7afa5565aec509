/** Batches as bytes against the encoder of whole messages. */
import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { batchBytes, withRewards } from "./batch-bytes.ts";
import { NamedRewardSchema } from "./gen/oarlock/v1/reward_result_pb.ts";
import { TrajectoryBatchSchema, TrajectorySchema } from "./gen/oarlock/v1/trajectory_pb.ts";

const group = fc.record({ runUid: fc.string(), stage: fc.nat(), step: fc.nat(), group: fc.nat() });
const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const head = fc.record({ group, incarnation: fc.nat(), firstSample: fc.nat(), planDigest: fc.string() });
const shared = fc.record({
  group,
  prompt: fc.record({ promptId: fc.string(), fieldsJson: fc.string() }),
  promptLength: fc.nat(),
  seed: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  producedBy: fc.string({ maxLength: 300 }),
});
const own = fc.record({
  sample: fc.nat(),
  tokenIds: fc.array(int32, { maxLength: 200 }),
  lossMask: fc.uint8Array({ maxLength: 200 }),
  behaviourLogprobs: fc.uint8Array({ maxLength: 200 }),
  turns: fc.array(fc.record({ start: fc.nat(), end: fc.nat() }), { maxLength: 3 }),
});
const named = fc.record({ name: fc.string(), scorerVersion: fc.string() });
const rewardList = fc.array(named, { maxLength: 3 });

test("a batch encoded in parts is the batch", () => {
  fc.assert(
    fc.property(head, shared, fc.array(own, { maxLength: 5 }), (batch, common, ones) => {
      const trajectories = ones.map((one) => ({ ...common, ...one }));
      const bytes = batchBytes(
        create(TrajectoryBatchSchema, batch),
        create(TrajectorySchema, common),
        ones.map((one) => create(TrajectorySchema, one)),
      );
      const whole = create(TrajectoryBatchSchema, { ...batch, trajectories });
      expect(fromBinary(TrajectoryBatchSchema, bytes)).toEqual(whole);
      expect(bytes.byteLength).toBe(toBinary(TrajectoryBatchSchema, whole).byteLength);
    }),
  );
});

test("S1: the rewards put in are the only ones, whatever an actor had sent", () => {
  const rewarded = fc.record({ one: own, sent: rewardList, given: rewardList });
  fc.assert(
    fc.property(head, shared, fc.array(rewarded, { maxLength: 5 }), (batch, common, samples) => {
      const withThese = (of: "sent" | "given"): MessageInitShape<typeof TrajectoryBatchSchema> => ({
        ...batch,
        trajectories: samples.map((sample) => ({ ...common, ...sample.one, rewards: sample[of] })),
      });
      const sent = toBinary(TrajectoryBatchSchema, create(TrajectoryBatchSchema, withThese("sent")));
      const rewards = samples.map(({ given }) => given.map((one) => create(NamedRewardSchema, one)));
      const bytes = withRewards(sent, rewards);
      expect(fromBinary(TrajectoryBatchSchema, bytes)).toEqual(
        create(TrajectoryBatchSchema, withThese("given")),
      );
    }),
  );
});
