/**
 * The trainer's memory: flat arrays in nn's layout where the engine keeps its state (the host, or a card), and tensors over their
 * views. Copies go out, never the arrays (W1).
 */
import { OarlockError } from "@oarlock/errors";
import { type LlamaConfig, parameterLayout, type ParameterLayout, type WeightView } from "@oarlock/nn";
import type { OrtRuntime, OrtTensor } from "@oarlock/ort";
import type { TrainerState } from "./types.ts";

export type Tensors = Readonly<Record<string, OrtTensor>>;

/** Each one flat array of the layout's length, float32. */
export interface FlatState {
  readonly layout: ParameterLayout;
  readonly weights: OrtTensor;
  readonly gradients: OrtTensor;
  readonly first: OrtTensor;
  readonly second: OrtTensor;
}

/** `array` where the engine keeps state: a tensor over its own memory on the host, a copy on a card. */
export function resident(ort: OrtRuntime, array: Float32Array): OrtTensor {
  const given = ort.tensor("float32", [array.length], array);
  if (ort.residence === "host") return given;
  const kept = ort.deviceTensor("float32", [array.length]);
  ort.copy([given], [kept]);
  given.dispose();
  return kept;
}

/** Another tensor beside `tensor`, of the same content. */
export function duplicate(ort: OrtRuntime, tensor: OrtTensor): OrtTensor {
  const { dtype, shape } = tensor;
  const copy = ort.residence === "host" ? ort.tensor(dtype, shape) : ort.deviceTensor(dtype, shape);
  ort.copy([tensor], [copy]);
  return copy;
}

/** A copy of a flat array. */
export function contentOf(ort: OrtRuntime, tensor: OrtTensor): Float32Array {
  const copy = new Float32Array(lengthOf(tensor));
  readInto(ort, tensor, copy);
  return copy;
}

/** Copies a flat array out. Both are as long, or it throws `TRAINING_STATE`. */
export function readInto(ort: OrtRuntime, tensor: OrtTensor, into: Float32Array): void {
  checkLength(lengthOf(tensor), "the copy", into);
  const target = ort.tensor("float32", tensor.shape, into);
  ort.copy([tensor], [target]);
  target.dispose();
}

/** Overwrites a flat array. Both are as long, or it throws `TRAINING_STATE`. */
export function writeFrom(ort: OrtRuntime, tensor: OrtTensor, from: Float32Array): void {
  checkLength(lengthOf(tensor), "what is loaded", from);
  const source = ort.tensor("float32", tensor.shape, from);
  ort.copy([source], [tensor]);
  source.dispose();
}

/** Tensors over the views of a flat array, under `name(view)`. */
export function viewTensors(
  ort: OrtRuntime,
  views: readonly WeightView[],
  { flat, name = (view) => view }: { readonly flat: OrtTensor; readonly name?: (view: string) => string },
): Tensors {
  return Object.fromEntries(
    views.map(({ name: view, shape, offset }) => [name(view), ort.view(flat, offset, shape)]),
  );
}

/** Ends tensors: a card's memory goes with the last tensor over it. */
export function disposeAll(...tensors: readonly (Tensors | OrtTensor | undefined)[]): void {
  for (const given of tensors) {
    if (given === undefined) continue;
    for (const tensor of isTensor(given) ? [given] : Object.values(given)) tensor.dispose();
  }
}

const isTensor = (given: Tensors | OrtTensor): given is OrtTensor => typeof given.dispose === "function";

/** Throws `TRAINING_STATE` where an array does not have the layout's length. */
function checkLength(length: number, what: string, array: Float32Array): void {
  if (array.length === length) return;
  throw new OarlockError(
    "TRAINING_STATE",
    `${what} has ${array.length} elements, this model's layout ${length}`,
  );
}

const lengthOf = ({ shape }: OrtTensor): number => shape[0] ?? 0;

/** Floats of the zeros that a card holds to clear arrays with. */
const ZEROS = 2 ** 24;

/** Sets one flat array to zero, again and again. */
export interface Eraser {
  clear(): void;
  dispose(): void;
}

/** A host's memory is filled; a card copies, piece by piece, from zeros that it keeps. */
export function createEraser(ort: OrtRuntime, flat: OrtTensor): Eraser {
  if (ort.residence === "host") {
    const array = flat.data as Float32Array; // flat arrays are float32
    return { clear: () => void array.fill(0), dispose: () => undefined };
  }
  const length = lengthOf(flat);
  const zeros = resident(ort, new Float32Array(Math.min(ZEROS, length)));
  const starts = Array.from({ length: Math.ceil(length / ZEROS) }, (_, i) => i * ZEROS);
  const pairs = starts.map((start) => {
    const shape = [Math.min(ZEROS, length - start)];
    return { from: ort.view(zeros, 0, shape), to: ort.view(flat, start, shape) };
  });
  return {
    clear: () =>
      ort.copy(
        pairs.map(({ from }) => from),
        pairs.map(({ to }) => to),
      ),
    dispose: () => disposeAll(...pairs.flatMap(({ from, to }) => [from, to]), zeros),
  };
}

export function createFlatState(ort: OrtRuntime, config: LlamaConfig, weights: Float32Array): FlatState {
  const layout = parameterLayout(config);
  checkLength(layout.length, "weights", weights);
  const zeros = (): OrtTensor => resident(ort, new Float32Array(layout.length));
  return {
    layout,
    weights: resident(ort, weights.slice()),
    gradients: zeros(),
    first: zeros(),
    second: zeros(),
  };
}

/** Overwrites weights and moments; all arrays are checked before the first is written. */
export function restoreFlatState(ort: OrtRuntime, state: FlatState, from: TrainerState): void {
  checkLength(state.layout.length, "weights", from.weights);
  checkLength(state.layout.length, "firstMoments", from.firstMoments);
  checkLength(state.layout.length, "secondMoments", from.secondMoments);
  if (from.reference !== undefined) checkLength(state.layout.length, "reference", from.reference);
  writeFrom(ort, state.weights, from.weights);
  writeFrom(ort, state.first, from.firstMoments);
  writeFrom(ort, state.second, from.secondMoments);
}
