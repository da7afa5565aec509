/**
 * Batches of trajectories as bytes, for those on the way from prompt to gradient: what all samples of a group share is encoded once,
 * and what a reward worker passes on is not encoded again. It rests on a rule of the wire format: encoded parts of a message,
 * one after the other, are the message (https://protobuf.dev/programming-guides/encoding/, "Last One Wins").
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { NamedReward } from "./gen/oarlock/v1/reward_result_pb.ts";
import { TrajectoryBatchSchema, TrajectorySchema } from "./gen/oarlock/v1/trajectory_pb.ts";
import type { Trajectory, TrajectoryBatch } from "./gen/oarlock/v1/trajectory_pb.ts";

const TRAJECTORIES = TrajectoryBatchSchema.field.trajectories.number;
const REWARDS = TrajectorySchema.field.rewards.number;

/** Encodes `head` with trajectories, each of which is `shared` and one of `own`: a field is in one of the two. */
export function batchBytes(
  head: TrajectoryBatch,
  shared: Trajectory,
  own: readonly Trajectory[],
): Uint8Array {
  const writer = new BinaryWriter().raw(toBinary(TrajectoryBatchSchema, head));
  const common = toBinary(TrajectorySchema, shared);
  for (const one of own) writeTrajectory(writer, [common, toBinary(TrajectorySchema, one)]);
  return writer.finish();
}

/**
 * The encoded batch with these rewards of its trajectories, instead of any that are there; all else as it came. For bytes without a
 * `misencodedField`: in others a reward may hide.
 */
export function withRewards(batch: Uint8Array, rewards: readonly (readonly NamedReward[])[]): Uint8Array {
  const writer = new BinaryWriter();
  let index = 0;
  for (const part of partsOf(batch, TRAJECTORIES)) {
    if (!part.isField) {
      writer.raw(part.bytes);
      continue;
    }
    const kept = partsOf(part.content, REWARDS).flatMap(({ isField, bytes }) => (isField ? [] : [bytes]));
    const judged = create(TrajectorySchema, { rewards: [...(rewards[index++] ?? [])] });
    writeTrajectory(writer, [...kept, toBinary(TrajectorySchema, judged)]);
  }
  return writer.finish();
}

function writeTrajectory(writer: BinaryWriter, parts: readonly Uint8Array[]): void {
  writer.tag(TRAJECTORIES, WireType.LengthDelimited);
  writer.uint32(parts.reduce((sum, { byteLength }) => sum + byteLength, 0));
  for (const part of parts) writer.raw(part);
}

/** A stretch of an encoded message: one occurrence of a certain field, with what is in it, or what lies between two of them. */
type Part =
  | { readonly isField: true; readonly bytes: Uint8Array; readonly content: Uint8Array }
  | { readonly isField: false; readonly bytes: Uint8Array };

/** The message cut at the occurrences of a field of messages; nothing is copied. */
function partsOf(message: Uint8Array, field: number): Part[] {
  const reader = new BinaryReader(message);
  const parts: Part[] = [];
  let from = 0;
  const between = (to: number): void => {
    if (to > from) parts.push({ isField: false, bytes: message.subarray(from, to) });
  };
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const [number, type] = reader.tag();
    if (number !== field || type !== WireType.LengthDelimited) {
      reader.skip(type, number);
      continue;
    }
    between(start);
    const content = reader.bytes();
    from = reader.pos;
    parts.push({ isField: true, content, bytes: message.subarray(start, from) });
  }
  between(reader.len);
  return parts;
}
