/** What the pool and its workers say to each other, and the clock that both read. */
import type { ScoringInput, Verdict, VerifierOptions, VerifierType } from "@oarlock/rewards";

/** How a worker makes one scorer. */
export type ScorerRecipe =
  | {
      readonly kind: "verifier";
      readonly type: VerifierType;
      readonly options: VerifierOptions[VerifierType];
    }
  | {
      readonly kind: "function";
      /** A whole module, as JavaScript. */
      readonly code: string;
      readonly export: string;
    };

export interface WorkerSetup {
  readonly recipes: readonly ScorerRecipe[];
  /** Two words: the running number of the item being scored (from 1; 0 = idle), and `monotonicMs` when it began. */
  readonly progress: SharedArrayBuffer;
}

/** One input for one scorer. */
export interface Item {
  /** Running number inside of the worker's life. */
  readonly number: number;
  readonly scorer: number;
  readonly input: ScoringInput;
}

export interface ScoredItem {
  readonly number: number;
  readonly verdict: Verdict;
}

export type ToWorker = readonly Item[];
export type FromWorker = { readonly ready: readonly LoadFault[] } | { readonly done: readonly ScoredItem[] };

/** A scorer that cannot be made. */
export interface LoadFault {
  readonly scorer: number;
  readonly message: string;
}

/** Milliseconds of the clock that all threads of the process share, in 31 bits: only differences mean something. */
export function monotonicMs(): number {
  return Number((process.hrtime.bigint() / 1_000_000n) & 0x7fff_ffffn);
}
