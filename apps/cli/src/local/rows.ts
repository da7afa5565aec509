/**
 * Data rows into tokens, once, before the first step. Conversations go through the model's chat template, plain texts do
 * not; rows that are too long are left out. Tokenising is done in slices, so that the event loop answers in between (P1).
 */
import { setImmediate as immediate } from "node:timers/promises";
import type { Row } from "@oarlock/data";
import { OarlockError } from "@oarlock/errors";
import type { PromptRow } from "@oarlock/learner";
import type { LossMask } from "@oarlock/runfile";
import type { Tokenizer } from "@oarlock/tokenizer";
import type { TrainingRow } from "@oarlock/training";

const SLICE_MS = 5;

/** The tokens of a prompt, ready to be continued. */
export function promptTokens(tokenizer: Tokenizer, prompt: Row["prompt"]): Int32Array {
  return typeof prompt === "string"
    ? tokenizer.encode(prompt)
    : tokenizer.encodeChat([...prompt], { addGenerationPrompt: true });
}

/** A prompt as people read it. */
function promptText(prompt: Row["prompt"]): string {
  if (typeof prompt === "string") return prompt;
  return prompt.map(({ role, content }) => `${role}: ${content}`).join("\n");
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
export async function promptRows(
  tokenizer: Tokenizer,
  rows: readonly Row[],
  maxTokens: number,
): Promise<PromptRow[]> {
  const prompts = await inSlices(rows, (row, index): PromptRow | undefined => {
    const tokens = promptTokens(tokenizer, row.prompt);
    if (tokens.length === 0 || tokens.length > maxTokens) return undefined;
    const { answer, fields } = row;
    return {
      id: String(index),
      tokens,
      fieldsJson: JSON.stringify(answer === undefined ? fields : { answer, ...fields }),
      text: promptText(row.prompt),
      ...(answer === undefined ? {} : { answer }),
    };
  });
  return nonEmpty(prompts, rows.length, `prompts of at most ${maxTokens} tokens`);
}

/** The demonstrations of `rows`: prompt, completion, end of text. */
export async function demonstrationRows(
  tokenizer: Tokenizer,
  rows: readonly Row[],
  options: { readonly maxTokens: number; readonly mask: LossMask },
): Promise<TrainingRow[]> {
  const demonstrations = await inSlices(rows, (row): TrainingRow | undefined => {
    const { prompt, whole } = demonstrationTokens(tokenizer, row);
    if (whole.length < 2 || whole.length > options.maxTokens) return undefined;
    const from = options.mask === "completion" ? prompt.length : 0;
    return { tokens: whole, promptLength: prompt.length, lossMask: maskFrom(whole.length, from) };
  });
  return nonEmpty(demonstrations, rows.length, `demonstrations of at most ${options.maxTokens} tokens`);
}

/** 1 from `from` on; the first token has nothing before it and is never trained. */
function maskFrom(length: number, from: number): Uint8Array {
  return new Uint8Array(length).fill(1, Math.max(1, from));
}

function demonstrationTokens(
  tokenizer: Tokenizer,
  { prompt, completion }: Row,
): { prompt: Int32Array; whole: Int32Array } {
  if (completion === undefined) {
    throw new OarlockError("DATA_NO_COMPLETION", "a demonstration has a prompt and no completion to learn");
  }
  const start = promptTokens(tokenizer, prompt);
  if (typeof prompt !== "string" && typeof completion !== "string") {
    const whole = tokenizer.encodeChat([...prompt, ...completion], { addGenerationPrompt: false });
    return { prompt: start, whole };
  }
  const text = typeof completion === "string" ? completion : promptText(completion);
  const end = tokenizer.encode(text, { addSpecialTokens: false });
  const stop = tokenizer.eosTokenId === undefined ? [] : [tokenizer.eosTokenId];
  return { prompt: start, whole: Int32Array.from([...start, ...end, ...stop]) };
}

function nonEmpty<T>(items: T[], rows: number, what: string): T[] {
  if (items.length > 0) return items;
  throw new OarlockError("DATA_EMPTY", `none of ${rows} rows is among the ${what}`);
}
