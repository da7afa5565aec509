/**
 * How token losses become one number, as a weight per token: loss = Σ weight · token loss. The denominators are those of
 * the whole global batch, so any split into micro-batches or workers gives the same sum (algorithms.md §5).
 */
import { OarlockError } from "@oarlock/errors";

export const AGGREGATIONS = [
  /** 1 / Σ T: verl's and TRL's token mean. */
  "token-mean-global",
  /** 1 / (P · Σ T of the prompt's group): DAPO's formula (arXiv:2503.14476). */
  "token-mean-group",
  /** 1 / (B · T_i): GRPO as published. */
  "seq-mean-token-mean",
  /** 1 / B. */
  "seq-mean-token-sum",
  /** 1 / (B · L_max): Dr. GRPO (arXiv:2503.20783). */
  "dr-grpo",
] as const;
export type Aggregation = (typeof AGGREGATIONS)[number];

export interface AggregatedSequence {
  /** 1 for trained tokens, 0 elsewhere. */
  readonly mask: Uint8Array;
  /** Which prompt's group the sequence belongs to. Default: one of its own. */
  readonly group?: number;
}

export interface AggregationOptions {
  /** L_max, the constant of `dr-grpo`: trained tokens per sequence at most. */
  readonly maxLength?: number;
}

interface BatchCounts {
  /** Sequences with at least one trained token. */
  readonly sequences: number;
  readonly tokens: number;
  readonly tokensOfGroup: ReadonlyMap<number, number>;
  readonly maxLength: number;
}

const weightOf: {
  readonly [A in Aggregation]: (counts: BatchCounts, length: number, group: number) => number;
} = {
  "token-mean-global": ({ tokens }) => 1 / tokens,
  "token-mean-group": ({ tokensOfGroup }, _, group) =>
    1 / (tokensOfGroup.size * (tokensOfGroup.get(group) ?? 1)),
  "seq-mean-token-mean": ({ sequences }, length) => 1 / (sequences * length),
  "seq-mean-token-sum": ({ sequences }) => 1 / sequences,
  "dr-grpo": ({ sequences, maxLength }) => 1 / (sequences * maxLength),
};

const trained = (mask: Uint8Array): number => mask.reduce((total, flag) => total + flag, 0);

/** The weight of every token of the batch, 0 where the mask is 0. A sequence without trained tokens counts nowhere. */
export function tokenWeights(
  aggregation: Aggregation,
  batch: readonly AggregatedSequence[],
  { maxLength = 0 }: AggregationOptions = {},
): Float32Array[] {
  if (aggregation === "dr-grpo" && maxLength <= 0) {
    throw new OarlockError("RL_AGGREGATION", "dr-grpo divides by the greatest length: give maxLength ≥ 1");
  }
  const lengths = batch.map(({ mask }) => trained(mask));
  const tokensOfGroup = new Map<number, number>();
  batch.forEach(({ group }, i) => {
    const length = lengths[i] ?? 0;
    const key = group ?? i;
    if (length > 0) tokensOfGroup.set(key, (tokensOfGroup.get(key) ?? 0) + length);
  });
  const counts: BatchCounts = {
    sequences: lengths.filter((length) => length > 0).length,
    tokens: lengths.reduce((total, length) => total + length, 0),
    tokensOfGroup,
    maxLength,
  };
  return batch.map(({ mask, group }, i) => {
    const weight = weightOf[aggregation](counts, lengths[i] ?? 0, group ?? i);
    return Float32Array.from(mask, (flag) => (flag === 1 ? weight : 0));
  });
}
