/** What a trap check sees and says. The checks are in traps-*.ts; the plan runs them all. */
import type { Path } from "../problem.ts";
import type { ModelShape, ResolvedSpec, RunInputs } from "../resolved.ts";
import type { TrapCode } from "../vocabulary.ts";
import type { PlanFacts } from "./facts.ts";
import type { MemoryEstimate } from "./memory.ts";

export interface TrapContext {
  readonly spec: ResolvedSpec;
  readonly inputs: RunInputs;
  readonly shape: ModelShape;
  readonly parameters: number;
  readonly facts: PlanFacts;
  readonly memory: MemoryEstimate;
}

/** A run that would fail, or would run and not learn: where, why, and the mend. */
export interface Trap {
  readonly code: string;
  /** From the document's root. */
  readonly path: Path;
  readonly message: string;
  readonly value?: string;
  /** What to do instead. */
  readonly accepted: string;
}

/** A trap that a run may enter on purpose, by naming its code under `allow`. */
export interface AllowableTrap extends Trap {
  readonly code: TrapCode;
}

export type TrapCheck = (context: TrapContext) => Trap[];

/** `when` a condition holds, the trap; a list, so that checks compose by flatMap. */
export function trapWhen(condition: boolean, trap: () => Trap): Trap[] {
  return condition ? [trap()] : [];
}

interface PromptLengths {
  readonly longest: number;
  readonly maxPromptLength: number;
  /** Tokens that the model has beside the completion. */
  readonly room: number;
}

/** Prompts that would be left out without a word, of the block at `path`. */
export function promptsTooLong(path: Path, { longest, maxPromptLength, room }: PromptLengths): Trap {
  return {
    code: "PROMPTS_TOO_LONG",
    path: [...path, "maxPromptLength"],
    message: `the longest prompt has ${longest} tokens and would be left out`,
    value: String(maxPromptLength),
    accepted:
      longest <= room ? `maxPromptLength: ${longest}` : "shorter prompts, or a model with more positions",
  };
}
