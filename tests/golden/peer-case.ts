/** What a comparison with another library's loss function is, and the parts that all of them are made of. */
import { createGraph, type Graph, type Value } from "@oarlock/onnx";
import { type Aggregation, tokenWeights } from "@oarlock/rl";
import { type PeerBatch, peerBatch, type PeerTensor } from "./peer-batch.ts";

/** A scalar of float32 inputs, and which of them it is differentiated by. */
export interface PeerGraph {
  readonly graph: Graph;
  readonly loss: Value;
  readonly variable: Value;
  readonly feeds: Readonly<Record<string, Float32Array>>;
}

export interface PeerCase {
  readonly library: "openrlhf" | "trl";
  /** Their function and its settings, for people. */
  readonly name: string;
  readonly call: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly tensors: Readonly<Record<string, PeerTensor>>;
  /** Of their tensors, the one that the gradient is taken by. Absent: numbers without a gradient. */
  readonly variable?: string;
  readonly reference: readonly number[];
  readonly graph?: PeerGraph;
  /** Why the results differ by more than rounding. */
  readonly reason?: string;
}

export const SEED = 4;
export const MAX_LENGTH = 16;
export const batch = peerBatch({ seed: SEED, rows: 8, tokens: MAX_LENGTH, spread: 0.3 });

export const weightsOf = ({ lengths, tokens }: PeerBatch, aggregation: Aggregation): Float32Array => {
  const sequences = lengths.map((length) => ({ mask: new Uint8Array(tokens).fill(1, 0, length) }));
  const rows = tokenWeights(aggregation, sequences, { maxLength: MAX_LENGTH });
  return Float32Array.from(rows.flatMap((row) => [...row]));
};

export const sum = (values: ArrayLike<number>, of: (value: number, index: number) => number): number =>
  Array.from(values).reduce((total, value, i) => total + of(value, i), 0);

/** A vector of float32 for every entry of `feeds`, as inputs of a new graph. */
export function inputsOf(feeds: Readonly<Record<string, Float32Array>>): {
  graph: Graph;
  input: (name: string) => Value;
} {
  const graph = createGraph("peer");
  const values = new Map(
    Object.entries(feeds).map(([name, { length }]) => [name, graph.input(name, "float32", [length])]),
  );
  const input = (name: string): Value => {
    const value = values.get(name);
    if (value === undefined) throw new Error(`the graph has no input ${name}`);
    return value;
  };
  return { graph, input };
}
