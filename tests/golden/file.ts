/** The file of golden vectors, as far as it is read, and what a check of it is. */

/** One sequence of the fixture: log-probs under θ, old, rollout and reference, and the sequence's advantage. */
export interface GoldenSequence {
  readonly th: readonly number[];
  readonly old: readonly number[];
  readonly ro: readonly number[];
  readonly ref: readonly number[];
  readonly A: number;
}

/** The part of the file that our objectives are about. */
export interface GoldenFile {
  readonly advantage: Record<string, unknown> & { readonly input: { readonly rewards: readonly number[] } };
  readonly policy: Record<string, unknown> & { readonly input: readonly GoldenSequence[] };
  readonly preference?: Record<string, unknown>;
  readonly misc: Record<string, unknown>;
}

export interface GoldenCheck {
  /** Path in the file. */
  readonly name: string;
  /** `reference`: plain float64 formulas. `graph`: the training graph's nodes, evaluated in float64. */
  readonly form: "reference" | "graph";
  readonly actual: readonly number[];
  readonly expected: readonly number[];
}

/** All numbers of nested lists; none of an absent entry. */
export const flat = (value: unknown): number[] =>
  Array.isArray(value) ? value.flatMap(flat) : value === undefined ? [] : [Number(value)];
