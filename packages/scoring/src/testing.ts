/** A sample for this package's tests. Not part of its interface. */
import type { TrajectoryInput } from "./scorer-set.ts";

/** A completion of one token. */
export const sampleInput = (completion: string): TrajectoryInput => ({
  prompt: "p",
  completion,
  completionTokens: 1,
  fields: {},
  truncated: false,
  tokens: Int32Array.of(1),
});
