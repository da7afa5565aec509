/**
 * The two orders of a head's rows: llama2.c rotates neighbours (2i, 2i+1) together, Hugging Face element i with i + S/2.
 * Reordering the rows of q and k once, on loading, gives the same function in the other convention; q·k does not change.
 */
import { OarlockError } from "@oarlock/errors";
import { type LlamaConfig, parameterLayout } from "@oarlock/nn";

/** Where row `row` of a head of `headSize` rows in half-split order lies in interleaved order. */
export function interleavedRow(row: number, headSize: number): number {
  const half = headSize / 2;
  return row < half ? 2 * row : 2 * (row - half) + 1;
}

/** Reorders each head's rows of a [heads × headSize, columns] matrix from interleaved to half-split, in place. */
export function toHalfSplitRows(matrix: Float32Array, headSize: number, columns: number): void {
  const headElements = headSize * columns;
  if (headSize % 2 !== 0 || matrix.length % headElements !== 0) {
    throw new OarlockError(
      "MODEL_ROPE",
      `${matrix.length} elements are no heads of ${headSize} × ${columns}; accepted: whole heads of an even size`,
    );
  }
  const before = new Float32Array(headElements);
  for (let start = 0; start < matrix.length; start += headElements) {
    before.set(matrix.subarray(start, start + headElements));
    for (let row = 0; row < headSize; row++) {
      const from = interleavedRow(row, headSize) * columns;
      matrix.set(before.subarray(from, from + columns), start + row * columns);
    }
  }
}

const ROTATED = /\.(q|k)_(proj|norm)\.(weight|bias)$/;

/** The same model with half-split heads: `weights` itself where it is so already, else a reordered copy. */
export function toHalfSplit(
  config: LlamaConfig,
  weights: Float32Array,
): { readonly config: LlamaConfig; readonly weights: Float32Array } {
  if (config.ropeConvention === "half-split") return { config, weights };
  const copy = weights.slice();
  for (const { name, shape, offset, size } of parameterLayout(config).parameters) {
    if (ROTATED.test(name))
      toHalfSplitRows(copy.subarray(offset, offset + size), config.headSize, shape[1] ?? 1);
  }
  return { config: { ...config, ropeConvention: "half-split" }, weights: copy };
}
