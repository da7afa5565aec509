/**
 * Numbers in answers: finding the one that a completion means, reading it without its ornaments (1,234.5 · 12 % · $40 ·
 * 90^\circ · x = 5), and comparing with a tolerance.
 */
import { expectedText, scored, type Verifier } from "../verdict.ts";
import { evaluateExpression } from "./expression.ts";

export type Extraction = "last-number" | "boxed" | "hashes" | "whole";

export interface NumericOptions {
  readonly field: string;
  /**
   * Where the number is in the completion. The expected text is read whole, after its `####`, or the same way; of several numbers
   * in it, or of one within an expression, none is taken for the answer.
   */
  readonly extract: Extraction;
  readonly absoluteTolerance: number;
  readonly relativeTolerance: number;
}

/** A number in running text. A minus between digits is a range, a date or a difference, no sign. */
const ANY_NUMBER =
  /(?:(?<![\d)])[-+−])?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+|(?<!\d)(?=\.\d))(?:\.\d+)?(?:[eE][-+]?\d+(?![\w.]))?(?:\s*\/\s*\d+(?:\.\d+)?)?\s*%?/g;

/** The content of the last \boxed{…}, with nested braces. */
function lastBoxed(text: string): string | undefined {
  const start = text.lastIndexOf("\\boxed{");
  if (start < 0) return undefined;
  let depth = 1;
  for (let i = start + 7; i < text.length; i++) {
    if (text[i] === "{") depth++;
    else if (text[i] === "}" && --depth === 0) return text.slice(start + 7, i);
  }
  return undefined;
}

const extractors: { readonly [E in Extraction]: (text: string) => string | undefined } = {
  "last-number": (text) => text.match(ANY_NUMBER)?.at(-1),
  boxed: lastBoxed,
  /** GSM8K's "#### 42". */
  hashes: (text) => {
    const at = text.lastIndexOf("####");
    return at < 0
      ? undefined
      : text
          .slice(at + 4)
          .trim()
          .split("\n")[0];
  },
  whole: (text) => text,
};

/** What stands around or inside of a number without meaning: each pattern is taken away everywhere. */
const ORNAMENTS: readonly RegExp[] = [
  /\\[()[\]]|(?<!\\)\$/g, // delimiters of mathematics; a dollar before an amount
  /\\\$|[€£¥]/g,
  /\\(?:text|mbox|mathrm)\s*\{[^{}]*\}(?:\^\{?\d\}?)?/g, // units
  /\^\{?\\circ\}?|°|\\degree/g,
  /\\left|\\right|\\[,;:! ]/g,
  /^\s*[A-Za-z]\s*=(?!=)/g, // x = …
  /\.\s*$/g,
];

/** Characters; longer texts are no number. */
const MAX_LENGTH = 256;

/** A number as read. */
interface Reading {
  readonly value: number;
  /** Before a percent sign divides it by 100. */
  readonly written: number;
}

/** The number that a text means, or undefined where it is none. */
export function parseNumber(text: string): number | undefined {
  return read(text)?.value;
}

function read(text: string): Reading | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  // {,} and ,\! are LaTeX's ways to a separator without space.
  const joined = text.replace(/(?<=\d)(?:\{,\}|,\s*\\!\s*)(?=\d)/g, ",");
  const bare = ORNAMENTS.reduce((rest, pattern) => rest.replace(pattern, ""), joined.trim()).trim();
  const content = bare.replaceAll(/\\[dt]frac/g, "\\frac");
  const share = content.match(/^(.*?)\s*\\?%$/);
  const written = evaluateExpression(share?.[1] ?? content);
  return written === undefined ? undefined : { value: share ? written / 100 : written, written };
}

/** The number found in `text` by the given rule. */
export function extractNumber(text: string, extraction: Extraction): number | undefined {
  return find(text, extraction)?.value;
}

function find(text: string, extraction: Extraction): Reading | undefined {
  const found = extractors[extraction](text);
  return found === undefined ? undefined : read(found);
}

/** Words, and one number that stands alone among them: "the answer is 42." */
const SENTENCE = /^(?:[\p{L}'’]+[.,:;!?]*\s+)*["'*(]*#["'*)]*[.,:;!?]*(?:\s+[\p{L}'’]+[.,:;!?]*)*$/u;

function expectedNumber(text: string, extract: Extraction): Reading | undefined {
  const known = read(text) ?? find(text, "hashes");
  if (known !== undefined || extract !== "last-number") return known ?? find(text, extract);
  // A list, an interval or a term has a last number, too, which is not the answer. A solution ends with it.
  const end =
    text
      .trim()
      .split(/\n+|(?<=[.!?])\s+(?=\p{Lu})/u)
      .at(-1) ?? "";
  const bare = end.replaceAll(/[$€£¥#]/g, "");
  const around = bare.replaceAll(ANY_NUMBER, (number) => (number.endsWith(" ") ? "# " : "#"));
  return SENTENCE.test(around) ? find(text, extract) : undefined;
}

/** 1 where the completion's number equals the expected one within the tolerances, else 0; no number found is 0. */
export function numeric({ field, extract, absoluteTolerance, relativeTolerance }: NumericOptions): Verifier {
  return (input) => {
    const text = expectedText(input, field);
    if (typeof text !== "string") return text;
    const expected = expectedNumber(text, extract);
    if (expected === undefined) {
      return {
        type: "failed",
        code: "ANSWER_NOT_A_NUMBER",
        reason: `"${text.slice(0, 80)}" in "${field}" is no number`,
        retryable: false,
      };
    }
    const actual = find(input.completion, extract);
    if (actual === undefined) return scored(0, "no number found");
    const isClose = (a: number, b: number): boolean =>
      Math.abs(a - b) <= absoluteTolerance + relativeTolerance * Math.abs(b);
    // 60 % for 60: data sets leave the sign out where the question asks for a percentage.
    const isRight =
      isClose(actual.value, expected.value) ||
      (isShare(actual) !== isShare(expected) && isClose(actual.written, expected.written));
    return scored(isRight ? 1 : 0, `${actual.value}, expected ${expected.value}`);
  };
}

const isShare = ({ value, written }: Reading): boolean => value !== written;
