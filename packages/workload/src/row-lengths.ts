/** How long rows are in tokens, before anything is trained; what is wrong with a row is found here and said with its place. Pure. */
import type { Dataset, Row } from "@oarlock/data";
import { isOarlockError, OarlockError } from "@oarlock/errors";
import type { Tokenizer } from "@oarlock/tokenizer";
import { demonstrationTokens, promptTokens, rankingTokens, rowPrompt, stepTokens } from "./tokens.ts";
import type { Rendering, StepOptions } from "./tokens.ts";

/** What of a row is as long as it gets: its prompt, the whole demonstration, the longest answer of a ranking, or all steps. */
export type Measured = "prompt" | "demonstration" | "pair" | "steps";

interface Measure {
  readonly length: number;
  /** Of a demonstration. */
  readonly unseen?: string;
}

const measures: {
  readonly [M in Measured]: (row: Row, rendering: Rendering, options: StepOptions) => Measure;
} = {
  prompt: (row, rendering, { tokenizer }) => promptTokens(rowPrompt(row), rendering, tokenizer).tokens,
  demonstration(row, rendering, { tokenizer }) {
    const { tokens, unseen } = demonstrationTokens(row, rendering, { tokenizer, mask: "all" });
    return { length: tokens.length, ...(unseen === undefined ? {} : { unseen }) };
  },
  pair(row, rendering, { tokenizer }) {
    return { length: Math.max(...rankingTokens(row, rendering, tokenizer).map(({ length }) => length)) };
  },
  steps: (row, rendering, options) => stepTokens(row, rendering, options)?.tokens ?? { length: 0 },
};

interface LengthOptions {
  readonly tokenizer: Tokenizer;
  readonly measured: Measured;
  /** Of labelled steps. */
  readonly stepEnd?: string;
}

/** Tokens of each row, and what was strange about some. */
export interface RowLengths {
  readonly lengths: readonly number[];
  /** Where prompts do not end in front of completions as they are asked: of how many rows, and the end of the first. */
  readonly unseen?: { readonly rows: number; readonly end: string };
}

/** Measures each row of a data set. What is wrong with a row is said with its place. */
export function rowLengths(
  dataset: Dataset,
  rendering: Rendering,
  { tokenizer, measured, stepEnd = "" }: LengthOptions,
): RowLengths {
  const measure = measures[measured];
  const ends: string[] = [];
  const lengths = dataset.rows.map((row, index) => {
    try {
      const { length, unseen } = measure(row, rendering, { tokenizer, stepEnd });
      if (unseen !== undefined) ends.push(unseen);
      return length;
    } catch (reason) {
      if (!isOarlockError(reason)) throw reason;
      const { code, rawMessage, retryable } = reason;
      const place = dataset.placeOf?.(index) ?? `row ${index + 1} of ${dataset.name}`;
      throw new OarlockError(code, `${place}: ${rawMessage}`, { retryable, cause: reason.cause });
    }
  });
  const [end] = ends;
  return { lengths, ...(end === undefined ? {} : { unseen: { rows: ends.length, end } }) };
}
