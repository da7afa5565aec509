/**
 * What the plan must know of the world and cannot compute: gathered by the caller, passed in as data.
 *
 * Nothing here reads a file; the command line and the controller each gather facts their own way.
 */
import type { EngineInput, ModelShape, ScorerInput } from "../resolved.ts";

export interface PlanFacts {
  readonly model: ModelFacts;
  /** By path of the data block, as `dataUses` names them. */
  readonly data: ReadonlyMap<string, DataFacts>;
  /** SHA-256 of the bundled code of each function, by path as `functionUses` names them. */
  readonly functions: ReadonlyMap<string, string>;
  /** Of reward models that are read, by their reference; absent: none is. */
  readonly scorers?: ReadonlyMap<string, ScorerFacts>;
  readonly engine: EngineInput;
  readonly machine: MachineFacts;
}

export interface ModelFacts {
  /** Of a model from files; a new one follows from the run file and `vocabSize`. */
  readonly shape?: ModelShape;
  readonly vocabSize: number;
  /** SHA-256 of the initial weights; "" for a new model. */
  readonly digest: string;
  readonly tokenizerDigest: string;
  readonly chatTemplateDigest: string;
}

export interface DataFacts {
  readonly digest: string;
  readonly rows: number;
  /** Tokens of the longest prompt (SFT: of the longest whole row); 0 where not measured. */
  readonly longestPrompt: number;
  /** Tokens of each row, of which that is the largest; absent where not measured. */
  readonly lengths?: readonly number[];
  /** Parts that the rows have: `prompt`, `completion`, `answer`, `messages`, and columns of the user's. */
  readonly parts: readonly string[];
  /** Parts that only some rows have, each with the place of the first row that lacks it. */
  readonly partial?: Readonly<Record<string, string>>;
  /** Of the evaluation's: how many rows have a prompt that the data at this path has too. */
  readonly shared?: Readonly<Record<string, number>>;
}

export type ScorerFacts = Pick<ScorerInput, "shape" | "digest">;

export interface MachineFacts {
  /** Memory that a run may use, in bytes. Decides whether a run is refused, never what it computes (D1). */
  readonly memoryBytes: number;
}
