/** Verifiers that compare text: the whole of it, a part, a pattern. */
import { expectedText, failed, scored, type Verifier } from "../verdict.ts";

export interface ExactOptions {
  /** The row's field that holds the expected text. */
  readonly field: string;
  readonly caseSensitive: boolean;
  /** White space around both texts does not count. */
  readonly trim: boolean;
}

export interface ContainsOptions {
  /** Literal text; "" = take it from `field`. */
  readonly text: string;
  readonly field: string;
  readonly caseSensitive: boolean;
}

export interface RegexOptions {
  readonly pattern: string;
  readonly flags: string;
}

const fold = (text: string, caseSensitive: boolean): string => (caseSensitive ? text : text.toLowerCase());

/** 1 where the completion is the expected text, else 0. */
export function exact({ field, caseSensitive, trim }: ExactOptions): Verifier {
  const normalise = (text: string): string => fold(trim ? text.trim() : text, caseSensitive);
  return (input) => {
    const expected = expectedText(input, field);
    if (typeof expected !== "string") return expected;
    return scored(normalise(input.completion) === normalise(expected) ? 1 : 0);
  };
}

/** 1 where the completion holds the text, else 0. */
export function contains({ text, field, caseSensitive }: ContainsOptions): Verifier {
  return (input) => {
    const wanted = text === "" ? expectedText(input, field) : text;
    if (typeof wanted !== "string") return wanted;
    if (wanted === "") return failed("ANSWER_EMPTY", `"${field}" is empty: every text would contain it`);
    return scored(occurs(fold(wanted, caseSensitive), fold(input.completion, caseSensitive)) ? 1 : 0);
  };
}

/** Whether `part` is in `text`, by Knuth, Morris and Pratt: `includes` takes the product of their lengths for some texts (P1). */
function occurs(part: string, text: string): boolean {
  // borders[i]: length of the longest start of `part` that part[0 … i] also ends with, itself apart.
  const borders = new Uint32Array(part.length);
  const matched = (before: number, unit: number): number => {
    let length = before;
    while (length > 0 && part.charCodeAt(length) !== unit) length = borders[length - 1] ?? 0;
    return part.charCodeAt(length) === unit ? length + 1 : 0;
  };
  for (let i = 1; i < part.length; i++) borders[i] = matched(borders[i - 1] ?? 0, part.charCodeAt(i));
  let length = 0;
  for (let i = 0; i < text.length && length < part.length; i++) length = matched(length, text.charCodeAt(i));
  return length === part.length;
}

/** 1 where the pattern matches somewhere, else 0. Runs where it can be killed: patterns may take for ever. */
export function regex({ pattern, flags }: RegexOptions): Verifier {
  const expression = new RegExp(pattern, flags);
  return (input) => scored(expression.test(input.completion) ? 1 : 0);
}
