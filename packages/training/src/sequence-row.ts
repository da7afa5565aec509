/**
 * A text whose score is wanted, as a row: the score of what ends with a token stands where the token after it would be
 * predicted. So the row has one token more, which is not read.
 */
import type { TrainingRow } from "./types.ts";

/** The score at the last token. `margin` is that of the pair, on its preferred row. */
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

/** A step of a text: the index of its last token, and whether it is right, 0 to 1. */
export interface LabelledStep {
  readonly end: number;
  readonly label: number;
}

/** The scores at the ends of steps, with their labels. */
export function stepsRow(sequence: ArrayLike<number>, steps: readonly LabelledStep[]): TrainingRow {
  const { tokens, promptLength } = sequenceRow(sequence);
  const lossMask = new Uint8Array(tokens.length);
  const labels = new Float32Array(tokens.length);
  for (const { end, label } of steps) {
    lossMask[end + 1] = 1;
    labels[end + 1] = label;
  }
  return { tokens, promptLength, lossMask, labels };
}
