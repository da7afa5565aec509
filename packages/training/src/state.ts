/** The trainer's memory: flat arrays in nn's layout, and tensors over their views. Copies go out, never the arrays (W1). */
import { OarlockError } from "@oarlock/errors";
import { type LlamaConfig, parameterLayout, type ParameterLayout, type WeightView } from "@oarlock/nn";
import type { OrtRuntime, OrtTensor } from "@oarlock/ort";
import type { TrainerState } from "./types.ts";

export type Tensors = Readonly<Record<string, OrtTensor>>;

export interface FlatState {
  readonly layout: ParameterLayout;
  readonly weights: Float32Array;
  readonly gradients: Float32Array;
  readonly first: Float32Array;
  readonly second: Float32Array;
}

/** Tensors over the views of a flat array, under `name(view)`. */
export function viewTensors(
  ort: OrtRuntime,
  views: readonly WeightView[],
  { flat, name = (view) => view }: { readonly flat: Float32Array; readonly name?: (view: string) => string },
): Tensors {
  return Object.fromEntries(
    views.map(({ name: view, shape, offset, size }) => [
      name(view),
      ort.tensor("float32", shape, flat.subarray(offset, offset + size)),
    ]),
  );
}

const zeros = (length: number): Float32Array => new Float32Array(length);

/** Throws `TRAINING_STATE` where an array does not have the layout's length. */
function checkLength(layout: ParameterLayout, what: string, array: Float32Array): void {
  if (array.length === layout.length) return;
  throw new OarlockError(
    "TRAINING_STATE",
    `${what} has ${array.length} elements, this model's layout ${layout.length}`,
  );
}

export function createFlatState(config: LlamaConfig, weights: Float32Array): FlatState {
  const layout = parameterLayout(config);
  checkLength(layout, "weights", weights);
  return {
    layout,
    weights: weights.slice(),
    gradients: zeros(layout.length),
    first: zeros(layout.length),
    second: zeros(layout.length),
  };
}

/** Overwrites weights and moments; all arrays are checked before the first is written. */
export function restoreFlatState(state: FlatState, from: TrainerState): void {
  checkLength(state.layout, "weights", from.weights);
  checkLength(state.layout, "firstMoments", from.firstMoments);
  checkLength(state.layout, "secondMoments", from.secondMoments);
  if (from.reference !== undefined) checkLength(state.layout, "reference", from.reference);
  state.weights.set(from.weights);
  state.first.set(from.firstMoments);
  state.second.set(from.secondMoments);
}
