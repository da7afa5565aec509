/**
 * A text whose score is wanted, as a row: the score stands at its last token, where the token after it would be predicted. So
 * the row has one token more, which is not read.
 */
import type { TrainingRow } from "./types.ts";

/** `margin` is that of the pair, on its preferred row. */
export function sequenceRow(sequence: ArrayLike<number>, margin = 0): TrainingRow {
  const { length } = sequence;
  const tokens = new Int32Array(length + 1);
  tokens.set(sequence);
  const lossMask = new Uint8Array(length + 1);
  lossMask[length] = 1;
  const margins = new Float32Array(length + 1);
  margins[length] = margin;
  return { tokens, promptLength: length, lossMask, margins };
}
