/** The table of built-in verifiers: a name, its options, and the function that they make. */
import type { Verifier } from "./verdict.ts";
import { numeric, type NumericOptions } from "./verifiers/numeric.ts";
import { format, type FormatOptions, length, type LengthOptions } from "./verifiers/shape.ts";
import {
  contains,
  type ContainsOptions,
  exact,
  type ExactOptions,
  regex,
  type RegexOptions,
} from "./verifiers/text.ts";

/** The options of each verifier, by the type's name in the run file. */
export interface VerifierOptions {
  exact: ExactOptions;
  contains: ContainsOptions;
  regex: RegexOptions;
  numeric: NumericOptions;
  format: FormatOptions;
  length: LengthOptions;
}

export type VerifierType = keyof VerifierOptions;

/** Raised when a verifier's meaning changes: it is part of the scorer's version, which travels with every verdict. */
export const VERIFIERS_VERSION = 1;

const makers: { readonly [T in VerifierType]: (options: VerifierOptions[T]) => Verifier } = {
  exact,
  contains,
  regex,
  numeric,
  format,
  length,
};

/** Those that take time in proportion to their text, whatever it says; a pattern may look at the same text again and again. */
const LINEAR: readonly VerifierType[] = ["exact", "contains", "format", "length"];

/** Whether a verifier's time is bounded by the length of what it reads. */
export function isLinear(type: VerifierType): boolean {
  return LINEAR.includes(type);
}

/** The verifier of a type with its options. Throws where a regular expression does not compile. */
export function createVerifier<T extends VerifierType>(type: T, options: VerifierOptions[T]): Verifier {
  return makers[type](options);
}

/** Whether a reward of this type is a verifier, and needs nothing but the sample. */
export function isVerifierType(type: string): type is VerifierType {
  return Object.hasOwn(makers, type);
}
