/**
 * Numbers in answers: finding the one that a completion means, reading the forms that people write (1,234.5 · −3/4 · 12 % ·
 * $40 · \frac{3}{4} · 2.5e3), and comparing with a tolerance.
 */
import { expectedText, scored, type Verifier } from "../verdict.ts";

export type Extraction = "last-number" | "boxed" | "hashes" | "whole";

export interface NumericOptions {
  readonly field: string;
  /** Where the number is in the completion; the expected text is read the same way where it has the mark. */
  readonly extract: Extraction;
  readonly absoluteTolerance: number;
  readonly relativeTolerance: number;
}

const NUMBER = String.raw`[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d+)?`;
const FRACTION = new RegExp(String.raw`^(${NUMBER})\s*/\s*(${NUMBER})$`);
const PLAIN = new RegExp(`^(${NUMBER})$`);
const ANY_NUMBER = /[-+−]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:\s*\/\s*\d+(?:\.\d+)?)?\s*%?/g;
const LATEX_FRACTION = /^([-+−]?)\\d?frac\{([^{}]+)\}\{([^{}]+)\}$/;

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

/** Takes away what surrounds a number: white space, currency, LaTeX spacing and dollars, a final full stop, units of text. */
function bare(text: string): string {
  return text
    .trim()
    .replace(/^\\\(|\\\)$|^\$+|\$+$/g, "")
    .replace(/\\text\{[^{}]*\}|\\[,;!]|\\left|\\right/g, "")
    .replace(/^[$€£¥]|^\\\$/, "")
    .replace(/\.$/, "")
    .trim();
}

/** The forms of a number: a pattern over the bare text, and what its groups mean. The first that matches decides. */
const forms: readonly {
  readonly pattern: RegExp;
  readonly value: (groups: readonly string[]) => number | undefined;
}[] = [
  { pattern: /^(.*?)\s*\\?%$/, value: ([share = ""]) => scaled(parseNumber(share), 0.01) },
  {
    pattern: LATEX_FRACTION,
    value: ([sign, above = "", below = ""]) =>
      scaled(quotient(above, below), sign === "-" || sign === "−" ? -1 : 1),
  },
  { pattern: FRACTION, value: ([above = "", below = ""]) => quotient(above, below) },
  { pattern: PLAIN, value: ([text = ""]) => Number(text.replaceAll(",", "").replace("−", "-")) },
];

/** The number that a text means, or undefined where it is none. */
export function parseNumber(text: string): number | undefined {
  const content = bare(text);
  if (content === "") return undefined;
  for (const { pattern, value } of forms) {
    const groups = content.match(pattern)?.slice(1);
    if (!groups) continue;
    const number = value(groups);
    return number !== undefined && Number.isFinite(number) ? number : undefined;
  }
  return undefined;
}

const scaled = (value: number | undefined, factor: number): number | undefined =>
  value === undefined ? undefined : value * factor;

function quotient(above: string, below: string): number | undefined {
  const [left, right] = [parseNumber(above), parseNumber(below)];
  return left === undefined || right === undefined || right === 0 ? undefined : left / right;
}

/** The number found in `text` by the given rule. */
export function extractNumber(text: string, extraction: Extraction): number | undefined {
  const found = extractors[extraction](text);
  return found === undefined ? undefined : parseNumber(found);
}

/** 1 where the completion's number equals the expected one within the tolerances, else 0; no number found is 0. */
export function numeric({ field, extract, absoluteTolerance, relativeTolerance }: NumericOptions): Verifier {
  return (input) => {
    const text = expectedText(input, field);
    if (typeof text !== "string") return text;
    const expected = extractNumber(text, extract) ?? extractNumber(text, "hashes") ?? parseNumber(text);
    if (expected === undefined) {
      return {
        type: "failed",
        code: "ANSWER_NOT_A_NUMBER",
        reason: `"${text.slice(0, 80)}" in "${field}" is no number`,
        retryable: false,
      };
    }
    const actual = extractNumber(input.completion, extract);
    if (actual === undefined) return scored(0, "no number found");
    const allowed = absoluteTolerance + relativeTolerance * Math.abs(expected);
    return scored(Math.abs(actual - expected) <= allowed ? 1 : 0, `${actual}, expected ${expected}`);
  };
}
