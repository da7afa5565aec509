/**
 * Data rows into tokens, once, before the first step; rows that are too long are left out. Tokenising is done in slices,
 * so that the event loop answers in between (P1).
 */
import { setImmediate as immediate } from "node:timers/promises";
import type { Row } from "@oarlock/data";
import { OarlockError } from "@oarlock/errors";
import type { LossMask } from "@oarlock/runfile";
import type { Tokenizer } from "@oarlock/tokenizer";
import type { TrainingRow } from "@oarlock/training";
import { demonstrationTokens, promptTokens } from "./tokens.ts";
import type { Rendering } from "./tokens.ts";

const SLICE_MS = 5;

/** A tokenised prompt. */
export interface PromptRow {
  readonly id: string;
  readonly tokens: Int32Array;
  /** The data row as a JSON object, for scorers. */
  readonly fieldsJson: string;
  /** For samples that people read. */
  readonly text: string;
  readonly answer?: string;
}

/** How the rows of one data block become tokens. */
export interface RowOptions {
  readonly tokenizer: Tokenizer;
  readonly rendering: Rendering;
  /** Longer ones are left out. */
  readonly maxTokens: number;
}

/** Applies `convert` to every row in slices; rows for which it gives nothing are left out. */
async function inSlices<T>(
  rows: readonly Row[],
  convert: (row: Row, index: number) => T | undefined,
): Promise<T[]> {
  const converted: T[] = [];
  let sliceMs = performance.now();
  for (const [index, row] of rows.entries()) {
    const value = convert(row, index);
    if (value !== undefined) converted.push(value);
    if (performance.now() - sliceMs < SLICE_MS) continue;
    await immediate();
    sliceMs = performance.now();
  }
  return converted;
}

/** The prompts of `rows`. Throws `DATA_EMPTY` where none is short enough. */
export async function promptRows(rows: readonly Row[], options: RowOptions): Promise<PromptRow[]> {
  const { tokenizer, rendering, maxTokens } = options;
  const prompts = await inSlices(rows, (row, index): PromptRow | undefined => {
    const { tokens, text } = promptTokens(row.prompt, rendering, tokenizer);
    if (tokens.length === 0 || tokens.length > maxTokens) return undefined;
    const { answer, fields } = row;
    return {
      id: String(index),
      tokens,
      fieldsJson: JSON.stringify(answer === undefined ? fields : { answer, ...fields }),
      text,
      ...(answer === undefined ? {} : { answer }),
    };
  });
  return nonEmpty(prompts, rows.length, `prompts of at most ${maxTokens} tokens`);
}

/** The demonstrations of `rows`: prompt, completion, end of text. */
export async function demonstrationRows(
  rows: readonly Row[],
  options: RowOptions & { readonly mask: LossMask },
): Promise<TrainingRow[]> {
  const { rendering, maxTokens } = options;
  const demonstrations = await inSlices(rows, (row): TrainingRow | undefined => {
    const demonstration = demonstrationTokens(row, rendering, options);
    const { length } = demonstration.tokens;
    return length < 2 || length > maxTokens ? undefined : demonstration;
  });
  return nonEmpty(demonstrations, rows.length, `demonstrations of at most ${maxTokens} tokens`);
}

function nonEmpty<T>(items: T[], rows: number, what: string): T[] {
  if (items.length > 0) return items;
  throw new OarlockError("DATA_EMPTY", `none of ${rows} rows is among the ${what}`);
}
