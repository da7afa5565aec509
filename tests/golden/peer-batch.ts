/** Random tensors of a batch of completions, from a seed: what our losses and those of other libraries are both given. */
import { initialNormals } from "@oarlock/rl";

/** Numbers of any shape; `null` is never among them, so that JSON carries it as it is. */
export interface PeerTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

const TENSORS = [
  "logprobs",
  "oldLogprobs",
  "rolloutLogprobs",
  "refLogprobs",
  "advantages",
  "values",
  "oldValues",
  "returns",
] as const;
export type BatchTensor = (typeof TENSORS)[number];

/** Rows of T tokens: completions of unequal length, padded at the right. All arrays but `lengths` are [B · T]. */
export type PeerBatch = { readonly [N in BatchTensor]: Float32Array } & {
  readonly rows: number;
  readonly tokens: number;
  readonly lengths: readonly number[];
  /** 1 for tokens of the completion. */
  readonly mask: Float32Array;
};

export interface BatchSettings {
  readonly seed: number;
  readonly rows: number;
  readonly tokens: number;
  /** Standard deviation of log π_θ − log π_old, nats. */
  readonly spread: number;
}

/** Log-probs are those of likely tokens, −|n| with n normal; the others differ from them by normal numbers. */
export function peerBatch({ seed, rows, tokens, spread }: BatchSettings): PeerBatch {
  const noise = (stream: number): Float32Array => initialNormals(seed, stream, rows * tokens);
  const lengths = Array.from({ length: rows }, (_, row) => 1 + ((row * 5 + seed) % tokens));
  const mask = Float32Array.from({ length: rows * tokens }, (_, i) =>
    i % tokens < (lengths[Math.floor(i / tokens)] ?? 0) ? 1 : 0,
  );
  const near = (values: Float32Array, stream: number, scale: number): Float32Array => {
    const moves = noise(stream);
    return values.map((value, i) => value + scale * (moves[i] ?? 0));
  };
  const logprobs = noise(0).map((one) => -Math.abs(one));
  const oldLogprobs = near(logprobs, 1, spread);
  const values = noise(5);
  return {
    rows,
    tokens,
    lengths,
    mask,
    logprobs,
    oldLogprobs,
    rolloutLogprobs: near(oldLogprobs, 2, 0.3),
    refLogprobs: near(logprobs, 3, 0.5),
    advantages: noise(4),
    values,
    oldValues: near(values, 6, 0.4),
    returns: noise(7),
  };
}

/** The batch as tensors [B, T]. */
export function tensorsOf(
  batch: PeerBatch,
  names: readonly (BatchTensor | "mask")[],
): Record<string, PeerTensor> {
  const shape = [batch.rows, batch.tokens];
  return Object.fromEntries(names.map((name) => [name, { shape, data: batch[name] }]));
}

/** The tokens of each completion, in turn. */
export function completions(batch: PeerBatch, values: Float32Array): Float32Array[] {
  return batch.lengths.map((length, row) => values.slice(row * batch.tokens, row * batch.tokens + length));
}
