/** The manifest and the pointer of policy versions as bytes, checked on the way in: they come from another process. */
import { OarlockError, shortDigest } from "@oarlock/errors";
import {
  create,
  fromBinary,
  PolicyKind,
  type PolicyManifest,
  PolicyManifestSchema,
  PolicyPointerSchema,
  ShardEncoding,
  toBinary,
} from "@oarlock/proto";
import { type TraceContext, traceHeaders, traceOfHeaders } from "@oarlock/runtime";
import type { PolicyAnnouncement, PolicySnapshot, PolicyVersion } from "./types.ts";

/** Which part of the flat weights lies in which object. */
export interface Shard {
  readonly object: string;
  readonly offset: number;
  readonly elements: number;
  readonly digest: string;
}

/** What a reader needs of a manifest after it was checked. */
export interface CheckedManifest {
  readonly shards: readonly Shard[];
  readonly elements: number;
  /** Of its publication. */
  readonly trace: TraceContext | undefined;
}

/** What the store knows besides the snapshot. */
export interface ManifestContext {
  readonly uid: string;
  readonly incarnation: number;
  readonly configDigest: string;
  readonly fingerprintDigest: string;
}

const FLOAT_BYTES = 4;

/** Same version: number and digest (W2). */
export function sameVersion(left: PolicyVersion, right: PolicyVersion): boolean {
  return left.number === right.number && left.digest === right.digest;
}

const toProto = ({ number, digest }: PolicyVersion): { version: number; digest: string } => ({
  version: number,
  digest,
});
const fromProto = (policy: { version: number; digest: string }): PolicyVersion => ({
  number: policy.version,
  digest: policy.digest,
});

/** The bytes of a full version's manifest. */
export function encodeManifest(
  snapshot: PolicySnapshot,
  version: PolicyVersion,
  shards: readonly Shard[],
  context: ManifestContext,
): Uint8Array {
  const manifest = create(PolicyManifestSchema, {
    runUid: context.uid,
    policy: toProto(version),
    ...(snapshot.parent === undefined ? {} : { parent: toProto(snapshot.parent) }),
    kind: PolicyKind.FULL,
    shards: shards.map(({ object, offset, elements, digest }) => ({
      object,
      offset: BigInt(offset),
      elements: BigInt(elements),
      bytes: BigInt(elements * FLOAT_BYTES),
      digest,
      encoding: ShardEncoding.FLOAT32_LE,
    })),
    configDigest: context.configDigest,
    incarnation: context.incarnation,
    stage: snapshot.stage,
    step: snapshot.step,
    fingerprintDigest: context.fingerprintDigest,
    ...(snapshot.trace === undefined ? {} : { trace: traceHeaders(snapshot.trace) }),
  });
  return toBinary(PolicyManifestSchema, manifest);
}

/**
 * Checks a manifest before anything is allocated for it.
 *
 * @throws OarlockError `POLICY_CORRUPT`, `POLICY_CONFIG_MISMATCH`.
 */
export function decodeManifest(
  bytes: Uint8Array,
  version: PolicyVersion,
  context: Pick<ManifestContext, "uid" | "configDigest"> & { readonly maxBytes: number },
): CheckedManifest {
  const manifest = parse(version, () => fromBinary(PolicyManifestSchema, bytes));
  if (manifest.configDigest !== context.configDigest) {
    const message = `policy ${version.number} belongs to model configuration ${manifest.configDigest}, not ${context.configDigest}`;
    throw new OarlockError("POLICY_CONFIG_MISMATCH", message);
  }
  const { policy, runUid, kind } = manifest;
  const named = policy !== undefined && runUid === context.uid && sameVersion(fromProto(policy), version);
  if (!named || kind !== PolicyKind.FULL)
    throw corrupt(version, "its manifest names another version, run or kind");
  return checkShards(manifest, version, context.maxBytes);
}

function checkShards(manifest: PolicyManifest, version: PolicyVersion, maxBytes: number): CheckedManifest {
  let next = 0n;
  for (const { offset, elements, bytes, encoding } of manifest.shards) {
    const whole = encoding === ShardEncoding.FLOAT32_LE && bytes === elements * BigInt(FLOAT_BYTES);
    if (offset !== next || elements < 1n || !whole) throw corrupt(version, "its shards do not join");
    next += elements;
  }
  if (next < 1n || next * BigInt(FLOAT_BYTES) > BigInt(maxBytes)) {
    throw corrupt(version, `it claims ${next} elements; at most ${maxBytes} bytes fit the store`);
  }
  const shards = manifest.shards.map(({ object, offset, elements, digest }) => ({
    object,
    offset: Number(offset),
    elements: Number(elements),
    digest,
  }));
  return { shards, elements: Number(next), trace: traceOfHeaders(manifest.trace) };
}

/** The bytes of the pointer's value. */
export function encodePointer(pointer: PolicyAnnouncement): Uint8Array {
  const { current, incarnation, held } = pointer;
  const message = create(PolicyPointerSchema, {
    policy: toProto(current),
    incarnation,
    held: held.map(toProto),
  });
  return toBinary(PolicyPointerSchema, message);
}

/** @throws OarlockError `POLICY_CORRUPT`. */
export function decodePointer(bytes: Uint8Array): PolicyAnnouncement {
  const none = { number: 0, digest: "" };
  const pointer = parse(none, () => fromBinary(PolicyPointerSchema, bytes));
  const held = pointer.held.map(fromProto);
  const current = held.at(-1);
  if (
    current === undefined ||
    pointer.policy === undefined ||
    !sameVersion(fromProto(pointer.policy), current)
  ) {
    throw corrupt(none, "the pointer does not end at its own version");
  }
  return { current, held, incarnation: pointer.incarnation };
}

function parse<T>(version: PolicyVersion, read: () => T): T {
  try {
    return read();
  } catch (reason) {
    throw corrupt(version, "its bytes are no message of this contract", reason);
  }
}

/** The error of a version that must not be used. */
export function corrupt(version: PolicyVersion, why: string, cause?: unknown): OarlockError {
  const message = `policy ${version.number} (${shortDigest(version.digest)}): ${why}`;
  return new OarlockError("POLICY_CORRUPT", message, { cause });
}
