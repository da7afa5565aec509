/**
 * Where caches lie: in host memory as arrays that are copied by the processor, or on a card as tensors that are copied by it. It knows
 * runs of floats, not what sits in them.
 */
import type { OrtRuntime, OrtTensor } from "@oarlock/ort";

export type Memory = Float32Array | OrtTensor;

/** `count` floats from place `start` of one memory to place `at` of another. */
export interface Move<M extends Memory> {
  readonly from: M;
  readonly start: number;
  readonly to: M;
  readonly at: number;
  readonly count: number;
}

export interface Storage<M extends Memory> {
  /** Whether a move costs much however short it is: then one over what lies between is faster than several. */
  readonly prefersLongMoves: boolean;
  /** Its content is nothing to rely on. */
  allocate(length: number): M;
  zeros(length: number): M;
  /** In order; one move may overlap itself. */
  copy(moves: readonly Move<M>[]): void;
  /** A tensor over the first floats of it. */
  tensor(memory: M, shape: readonly number[]): OrtTensor;
  release(memory: M): void;
}

/** Where the engine keeps state. One cache has one storage, which is given only memory of its own. */
export function storageOf(ort: OrtRuntime): Storage<Memory> {
  return ort.residence === "host" ? hostStorage(ort) : deviceStorage(ort);
}

function hostStorage(ort: OrtRuntime): Storage<Float32Array> {
  return {
    prefersLongMoves: false,
    allocate: (length) => new Float32Array(length),
    zeros: (length) => new Float32Array(length),
    copy(moves) {
      for (const { from, start, to, at, count } of moves) {
        if (from === to) to.copyWithin(at, start, start + count);
        else to.set(from.subarray(start, start + count), at);
      }
    },
    tensor: (memory, shape) => ort.tensor("float32", shape, memory.subarray(0, elements(shape))),
    release: () => undefined,
  };
}

function deviceStorage(ort: OrtRuntime): Storage<OrtTensor> {
  return {
    prefersLongMoves: true,
    allocate: (length) => ort.deviceTensor("float32", [length]),
    zeros(length) {
      const zeros = ort.tensor("float32", [length]);
      const memory = ort.deviceTensor("float32", [length]);
      ort.copy([zeros], [memory]);
      zeros.dispose();
      return memory;
    },
    copy(moves) {
      const sources = moves.map(({ from, start, count }) => ort.view(from, start, [count]));
      const targets = moves.map(({ to, at, count }) => ort.view(to, at, [count]));
      ort.copy(sources, targets);
      for (const view of [...sources, ...targets]) view.dispose();
    },
    tensor: (memory, shape) => ort.view(memory, 0, shape),
    release: (memory) => memory.dispose(),
  };
}

const elements = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);
