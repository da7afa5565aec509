/** S1: rewards that an actor hides in its bytes from who takes them out. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import fc from "fast-check";
import { expect, test } from "vitest";
import { withRewards } from "./batch-bytes.ts";
import { NamedRewardSchema } from "./gen/oarlock/v1/reward_result_pb.ts";
import {
  EnvironmentSchema,
  type TrajectoryBatch,
  TrajectoryBatchSchema,
  TrajectorySchema,
} from "./gen/oarlock/v1/trajectory_pb.ts";
import { misencodedField } from "./misencoded-field.ts";

const { field } = TrajectorySchema;
const { trajectories } = TrajectoryBatchSchema.field;
const UNKNOWN = 1_000;
const forged = toBinary(NamedRewardSchema, create(NamedRewardSchema, { name: "forged" }));
const given = create(NamedRewardSchema, { name: "given" });

const nameOf = (bytes: Uint8Array): string | undefined => misencodedField(TrajectoryBatchSchema, bytes)?.name;

/** As the decoder of whole messages has it. */
function replaced(batch: TrajectoryBatch): TrajectoryBatch {
  return {
    ...batch,
    trajectories: batch.trajectories.map((trajectory) => ({ ...trajectory, rewards: [given] })),
  };
}

const passedOn = (bytes: Uint8Array, count: number): TrajectoryBatch =>
  fromBinary(TrajectoryBatchSchema, withRewards(bytes, Array<[typeof given]>(count).fill([given])));

/** A forged reward as a field, as one of that wire type. */
const reward = (type: WireType): Uint8Array =>
  new BinaryWriter().tag(field.rewards.number, type).bytes(forged).finish();
const plain = reward(WireType.LengthDelimited);
/** The head of a field that nobody knows, to which a reward after it would belong. */
const cover = new BinaryWriter().tag(UNKNOWN, WireType.LengthDelimited).uint32(plain.byteLength).finish();

const hidden = {
  "as a number": ["rewards", reward(WireType.Varint)],
  "behind a number that comes as text": [
    "sample",
    new BinaryWriter().tag(field.sample.number, WireType.LengthDelimited).bytes(plain).finish(),
  ],
  "behind numbers, the last of which goes on": [
    "token_ids",
    new BinaryWriter()
      .tag(field.tokenIds.number, WireType.LengthDelimited)
      .bytes(Uint8Array.of(0x80))
      .raw(plain)
      .finish(),
  ],
} as const;

test.each(Object.entries(hidden))("a reward %s is found", (_, [name, bytes]) => {
  const batch = new BinaryWriter().tag(trajectories.number, WireType.LengthDelimited).bytes(bytes).finish();
  expect(nameOf(batch)).toBe(name);
});

test("what is longer than the message that it is in is found", () => {
  // The decoder gives the state what it wants, and finds a reward behind it; by lengths the reward is in an unknown field.
  const { opaqueState } = EnvironmentSchema.field;
  const environment = new BinaryWriter()
    .tag(opaqueState.number, WireType.LengthDelimited)
    .uint32(cover.byteLength)
    .finish();
  const bytes = new BinaryWriter()
    .tag(field.environment.number, WireType.LengthDelimited)
    .bytes(environment)
    .raw(cover)
    .raw(plain)
    .finish();
  const batch = new BinaryWriter().tag(trajectories.number, WireType.LengthDelimited).bytes(bytes).finish();
  expect(fromBinary(TrajectoryBatchSchema, batch).trajectories[0]?.rewards).toMatchObject([
    { name: "forged" },
  ]);
  expect(() => nameOf(batch)).toThrow("premature EOF");
});

test("whatever bytes are taken, the rewards put in are the only ones, and all else is as it was", () => {
  const whole = toBinary(
    TrajectoryBatchSchema,
    create(TrajectoryBatchSchema, {
      group: { runUid: "uid", step: 3 },
      firstSample: 2,
      trajectories: [
        { sample: 1, prompt: { promptId: "a" }, tokenIds: [1, 300], rewards: [{ name: "sent" }] },
        { seed: 7n, values: { values: [0.5], positions: [1] }, parents: ["b"], stepEnds: [1, 2] },
      ],
      planDigest: "mine",
    }),
  );
  const byte = fc.oneof(fc.nat(255), fc.constantFrom(...whole));
  const edit = fc.record({
    at: fc.nat(whole.length),
    removed: fc.nat(2),
    put: fc.array(byte, { maxLength: 4 }),
  });
  let taken = 0;
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
      const bytes = [...whole];
      for (const { at, removed, put } of edits) bytes.splice(at, removed, ...put);
      const read = attempt(Uint8Array.from(bytes));
      if (read === undefined) return;
      taken += 1;
      expect(passedOn(Uint8Array.from(bytes), read.trajectories.length)).toEqual(replaced(read));
    }),
    { numRuns: 3_000 },
  );
  expect(taken).toBeGreaterThan(100);
});

/** The batch, where a reward worker takes it. */
function attempt(bytes: Uint8Array): TrajectoryBatch | undefined {
  try {
    return nameOf(bytes) === undefined ? fromBinary(TrajectoryBatchSchema, bytes) : undefined;
  } catch {
    return undefined;
  }
}
