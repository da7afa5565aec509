/** Reads the fixtures that `tests/fixtures/nn/make_llama_fixtures.py` wrote with PyTorch, and lays them out flat. */
import { readFileSync } from "node:fs";
import { gradients } from "@oarlock/autodiff";
import {
  type AdamwSettings,
  type LlamaConfig,
  llamaTraining,
  type ParameterLayout,
  parameterLayout,
} from "@oarlock/nn";
import { createGraph, type Graph, mul, neg, type OpName, reduceSum } from "@oarlock/onnx";

export interface PackedArray {
  readonly shape: readonly number[];
  /** Little-endian float32, base64. */
  readonly data: string;
}

export interface LlamaFixture {
  readonly generator: string;
  readonly config: LlamaConfig;
  readonly rows: number;
  readonly length: number;
  readonly ids: readonly number[];
  readonly targets: readonly number[];
  readonly weight: readonly number[];
  readonly loss: number;
  readonly logits: string;
  readonly parameters: Readonly<Record<string, PackedArray>>;
  readonly gradients: Readonly<Record<string, PackedArray>>;
  readonly adamw: AdamwSettings;
  readonly losses: readonly number[];
  readonly gradientNorms: readonly number[];
  readonly trained: Readonly<Record<string, PackedArray>>;
}

export const FIXTURES = [
  "llama-gqa-tied",
  "llama-untied-interleaved",
  "qwen2-biases",
  "qwen3-norms",
] as const;

export function readFixture(name: (typeof FIXTURES)[number]): LlamaFixture {
  return JSON.parse(
    readFileSync(new URL(`../fixtures/nn/${name}.json`, import.meta.url), "utf8"),
  ) as LlamaFixture;
}

export function unpack(base64: string): Float32Array<ArrayBuffer> {
  const bytes = Uint8Array.from(Buffer.from(base64, "base64"));
  return new Float32Array(bytes.buffer);
}

/** The named arrays in one flat array; each must have the place's shape, and none may be left over. */
export function flatten(
  arrays: Readonly<Record<string, PackedArray>>,
  layout: ParameterLayout,
): Float32Array<ArrayBuffer> {
  const flat = new Float32Array(layout.length);
  const names = layout.parameters.map(({ name }) => name);
  if (names.toSorted().join() !== Object.keys(arrays).toSorted().join()) throw new Error("the names differ");
  for (const { name, shape, offset } of layout.parameters) {
    const given = arrays[name];
    if (given?.shape.join() !== shape.join()) {
      throw new Error(`${name} is [${given?.shape.join()}], expected [${shape.join()}]`);
    }
    flat.set(unpack(given.data), offset);
  }
  return flat;
}

/** Outputs: loss, logits, and `d.<view>` for every view. Inputs: the model's, and `weight` [rows · length]. */
export function lossGraph({ config, rows, length }: LlamaFixture, without: readonly OpName[] = []): Graph {
  const graph = createGraph("training", without);
  const { logprobs, logits, weights } = llamaTraining(graph, { config, batch: rows, length });
  const loss = neg(reduceSum(mul(logprobs, graph.input("weight", "float32", logprobs.shape))));
  graph.output("loss", loss);
  graph.output("logits", logits);
  const { views } = parameterLayout(config);
  const found = gradients(
    loss,
    views.map(({ name }) => weights(name)),
  );
  views.forEach(({ name }, i) => graph.output(`d.${name}`, found[i]!));
  return graph;
}

/** 0, 1, 2, … in each row. */
export function positionsOf({ rows, length }: LlamaFixture): number[] {
  return Array.from({ length: rows * length }, (_, i) => i % length);
}

/** ‖actual − expected‖ / ‖expected‖. */
export function gap(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  const difference = Math.hypot(...Array.from(expected, (value, i) => value - (actual[i] ?? Number.NaN)));
  return difference / Math.hypot(...Array.from(expected));
}
