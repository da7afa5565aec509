/** What policy stores and run checkpoints promise. Neither knows what the numbers mean or how a model looks. */
import type { TraceContext } from "@oarlock/runtime";

/** A version's identity is both fields (W2): after a restart one number may exist with two digests. */
export interface PolicyVersion {
  readonly number: number;
  /** SHA-256 in lower-case hex of the flat little-endian float32 weights. */
  readonly digest: string;
}

/** A version to be published. */
export interface PolicySnapshot {
  readonly number: number;
  /** Flat parameters [P]. A snapshot (W1): nobody writes to it until `publish` settles. */
  readonly weights: Float32Array;
  /** If known already, e.g. from the trainer's worker: other bytes are then refused, never published. */
  readonly digest?: string;
  readonly parent?: PolicyVersion;
  readonly stage: number;
  readonly step: number;
  /** Of the publication: those who fetch the version may link to it. Changes no bits. */
  readonly trace?: TraceContext;
}

/** What the pointer says: the newest version and all that may be used. */
export interface PolicyAnnouncement {
  readonly current: PolicyVersion;
  /** Oldest first; `current` is the last. A version that is not listed must not be served (W2). */
  readonly held: readonly PolicyVersion[];
  /** Of the learner that moved the pointer (F1). */
  readonly incarnation: number;
}

/** Versioned weights on the bus: stored, verified, then made visible (W1); verified again before use (W2). */
export interface PolicyStore {
  /**
   * Stores and announces a version. A shard whose bytes are stored already is not sent again; publishing the same version
   * again changes nothing. The first publication of a higher incarnation empties `held` (F1): what is still good is
   * published again, and nothing else may be served.
   *
   * @throws OarlockError `POLICY_FENCED` when a higher incarnation has published, `POLICY_DIGEST_MISMATCH` when the weights
   * are not what `digest` says, `POLICY_ORDER_REFUSED` when the number is not above the newest of this incarnation.
   */
  publish(snapshot: PolicySnapshot, signal?: AbortSignal): Promise<PolicyVersion>;
  /**
   * The verified weights [P] of one version, over a SharedArrayBuffer that belongs to the caller. `onFound` hears of its
   * publication before the weights are read. A shard that is here of the version fetched last, or of a transfer that broke
   * off, is not asked for again.
   *
   * @throws OarlockError `POLICY_MISSING`, `POLICY_CORRUPT`, `POLICY_CONFIG_MISMATCH`.
   */
  fetch(
    version: PolicyVersion,
    signal?: AbortSignal,
    onFound?: (found: { readonly trace: TraceContext | undefined }) => void,
  ): Promise<Float32Array<SharedArrayBuffer>>;
  /** What is announced now. */
  current(): Promise<PolicyAnnouncement | undefined>;
  /** The current announcement, then every later one; a slow reader sees the newest. */
  watch(signal?: AbortSignal): AsyncIterable<PolicyAnnouncement>;
  /**
   * Withdraws and deletes every version that is not listed; the current one stays always. Callers list what valid
   * checkpoints and work in flight need (T3).
   */
  retain(versions: readonly PolicyVersion[], signal?: AbortSignal): Promise<void>;
}

/** Arrays that a checkpoint may hold. */
export type CheckpointArray = Float32Array | Int32Array | Uint8Array | BigInt64Array;

/** An array that is made when its turn to be written comes, so that large ones need not be there together. */
export interface DeferredArray {
  readonly byteLength: number;
  /** What it gives is read until the next array's turn: one buffer may serve all. */
  readonly read: () => Promise<CheckpointArray>;
}

/** One atomic state of a run (T3). */
export interface CheckpointContent {
  /** Global step: grows over all stages. */
  readonly step: number;
  /** Everything that is not an array, as JSON: stage, cursors, RNG keys, stream positions, groups in flight. */
  readonly state: unknown;
  /** By name (letters, digits, `.`, `_`, `-`): parameters, moments, weights of preceding versions. Snapshots (W1). */
  readonly arrays: Readonly<Record<string, CheckpointArray | DeferredArray>>;
}

/** Where a checkpoint lies and what it is. */
export interface CheckpointInfo {
  readonly incarnation: number;
  readonly step: number;
  /** Folder with `manifest.json`. */
  readonly path: string;
  /** SHA-256 of the manifest's content, which names the digest of every file. */
  readonly digest: string;
}

/** A checkpoint read back, every file verified. */
export interface LoadedCheckpoint extends CheckpointInfo, CheckpointContent {
  readonly arrays: Readonly<Record<string, CheckpointArray>>;
}

/** The checkpoints of one learner incarnation, from `openRunCheckpoints`. */
export interface RunCheckpoints {
  /** Claimed for this process alone (F1). */
  readonly incarnation: number;
  /** What this incarnation continues from, if anything. */
  readonly resumed: LoadedCheckpoint | undefined;
  /**
   * Writes a checkpoint and applies retention; visible only when complete.
   *
   * @throws OarlockError `CHECKPOINT_DISK_FULL`, `CHECKPOINT_FENCED` when a higher incarnation exists; the older checkpoints
   * stay as they were.
   */
  write(content: CheckpointContent, signal?: AbortSignal): Promise<CheckpointInfo>;
  /** Complete checkpoints of the surviving lineage, newest first, not verified. */
  list(): Promise<readonly Pick<CheckpointInfo, "incarnation" | "step" | "path">[]>;
}

/** How to open a run's checkpoints. */
export interface RunCheckpointsOptions {
  /** Made if absent. */
  readonly folder: string;
  /** Checkpoints kept, at least 1. */
  readonly keep: number;
  /** False starts anew: older checkpoints stay on disk but are not this run's past. Default true. */
  readonly resume?: boolean;
  /** Told of each checkpoint that was skipped, and why. */
  readonly onSkipped?: (path: string, reason: string) => void;
  readonly signal?: AbortSignal;
}
