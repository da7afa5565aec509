/**
 * Data rows into tokens, once, before the first step; rows that are too long are left out. Tokenising is done in slices,
 * so that the event loop answers in between (P1).
 */
import { createHash } from "node:crypto";
import type { Prompt, Row } from "@oarlock/data";
import { OarlockError } from "@oarlock/errors";
import type { LossMask } from "@oarlock/runfile";
import { inSlices } from "@oarlock/runtime";
import type { Tokenizer } from "@oarlock/tokenizer";
import type { TrainingRow } from "@oarlock/training";
import { demonstrationTokens, promptTokens, rankingTokens, rowPrompt, stepTokens } from "./tokens.ts";
import type { Rendering, TokenizedRanking, TokenizedSteps } from "./tokens.ts";

/** A tokenised prompt. */
export interface PromptRow {
  readonly id: string;
  readonly tokens: Int32Array;
  /** What scorers are told of the data row, as a JSON object. */
  readonly fieldsJson: string;
  /** For samples that people read. */
  readonly text: string;
  readonly answer?: string;
}

/** What scorers are told of a row: its columns, and as `answer` what a mapping or a convention found, whatever that column holds. */
export function scorerFields({ answer, fields }: Row): Row["fields"] {
  const { answer: raw } = fields;
  // A number stays one for functions; verifiers compare with its digits.
  const isSame = typeof raw === "number" && String(raw) === answer;
  return answer === undefined || isSame ? fields : { ...fields, answer };
}

/** How the rows of one data block become tokens. */
export interface RowOptions {
  readonly tokenizer: Tokenizer;
  readonly rendering: Rendering;
  /** Longer ones are left out. */
  readonly maxTokens: number;
}

/** The prompts of `rows`. Throws `DATA_EMPTY` where none is short enough. */
export async function promptRows(rows: readonly Row[], options: RowOptions): Promise<PromptRow[]> {
  const { tokenizer, rendering, maxTokens } = options;
  const prompts = await inSlices(rows, (row, index): PromptRow | undefined => {
    const { tokens, text } = promptTokens(rowPrompt(row), rendering, tokenizer);
    if (tokens.length === 0 || tokens.length > maxTokens) return undefined;
    const { answer } = row;
    return {
      id: String(index),
      tokens,
      fieldsJson: JSON.stringify(scorerFields(row)),
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

/** What a reward model's stage learns from and is held against. */
export interface Split<T> {
  readonly training: readonly T[];
  /** No first turn of these is among those of `training`. */
  readonly heldOut: readonly T[];
  /** Rows that were left out because an answer was too long. */
  readonly overlong: number;
  /** Rows that were left out because they have another number of answers, or steps whose ends cannot be told. */
  readonly otherCount: number;
}

/** Rankings: tokens of the whole texts. */
export type Preferences = Split<TokenizedRanking>;
/** Answers whose steps are labelled. */
export type StepLabels = Split<TokenizedSteps>;

/** How rows are split. */
export interface SplitOptions extends RowOptions {
  /** Share of first turns whose rows are kept from training. */
  readonly heldOut: number;
  /** Which share of them, from 0: folds do not overlap. */
  readonly fold: number;
  readonly seed: number;
}

/** The rankings of `rows`: those of so many answers; 2: pairs. */
export async function preferenceRankings(
  rows: readonly Row[],
  options: SplitOptions & { readonly answers: number },
): Promise<Preferences> {
  const { tokenizer, rendering, maxTokens, answers } = options;
  return splitRows(rows, options, {
    tokenize(row) {
      const ranking = rankingTokens(row, rendering, tokenizer);
      return ranking.length === answers ? ranking : undefined;
    },
    fits: (ranking) => ranking.every(({ length }) => length <= maxTokens),
    what: `${answers === 2 ? "pairs" : `rankings of ${answers} answers`} of at most ${maxTokens} tokens a side`,
  });
}

/** The answers of `rows` with their labelled steps, which `stepEnd` tells apart. */
export async function labelledSteps(
  rows: readonly Row[],
  options: SplitOptions & { readonly stepEnd: string },
): Promise<StepLabels> {
  const { tokenizer, rendering, maxTokens, stepEnd } = options;
  return splitRows(rows, options, {
    tokenize: (row) => stepTokens(row, rendering, { tokenizer, stepEnd }),
    fits: ({ tokens }) => tokens.length <= maxTokens,
    what: `answers of at most ${maxTokens} tokens whose steps ${JSON.stringify(stepEnd)} tells apart`,
  });
}

interface SplitKind<T> {
  /** Undefined: the row is counted among those of another count. */
  readonly tokenize: (row: Row) => T | undefined;
  readonly fits: (one: T) => boolean;
  /** For the error where none is left. */
  readonly what: string;
}

/**
 * Rows of one first turn lie on one side of the split: answers to one question on both sides would let a model that remembers
 * look like one that judges.
 */
async function splitRows<T>(
  rows: readonly Row[],
  options: SplitOptions,
  { tokenize, fits, what }: SplitKind<T>,
): Promise<Split<T>> {
  let [overlong, otherCount] = [0, 0];
  const found = await inSlices(rows, (row) => {
    const one = tokenize(row);
    if (one === undefined) {
      otherCount++;
      return undefined;
    }
    if (fits(one)) return { one, isHeldOut: isHeldOut(row.prompt, options) };
    overlong++;
    return undefined;
  });
  const side = (heldOut: boolean): T[] =>
    found.filter(({ isHeldOut: held }) => held === heldOut).map(({ one }) => one);
  const training = nonEmpty(side(false), rows.length, `training ${what}`);
  const heldOut = side(true);
  if (options.heldOut > 0) nonEmpty(heldOut, rows.length, `held-out ${what}`);
  return { training, heldOut, overlong, otherCount };
}

/** By a hash of the first turn and the seed: neither the order of the rows nor which others there are decides. */
function isHeldOut(prompt: Prompt, { heldOut, fold, seed }: SplitOptions): boolean {
  const hash = createHash("sha256")
    .update(`${seed}\n${firstTurn(prompt)}`)
    .digest();
  const place = hash.readUInt32BE(0) / 2 ** 32;
  return place >= fold * heldOut && place < (fold + 1) * heldOut;
}

/** What the first person says: the first user message, or the text before the first answer. */
function firstTurn(prompt: Prompt): string {
  if (typeof prompt !== "string") return prompt.find(({ role }) => role === "user")?.content ?? "";
  return prompt.split("\n\nAssistant:", 1)[0] ?? "";
}

function nonEmpty<T>(items: T[], rows: number, what: string): T[] {
  if (items.length > 0) return items;
  throw new OarlockError("DATA_EMPTY", `none of ${rows} rows is among the ${what}`);
}
