/**
 * The matrix products of a training step and nothing else: those of every parameter (forward, and both of the backward pass) and those
 * of attention, in the shapes, the lanes and the micro-batches of the trainer. What remains of a step is everything between them.
 */
import type { LlamaConfig } from "@oarlock/nn";
import { createGraph, matMul, serializeModel, type Value } from "@oarlock/onnx";
import { openOrt, type OrtRuntime, type OrtTensor } from "@oarlock/ort";

export interface ProductShape {
  readonly config: LlamaConfig;
  /** Rows of a step, and tokens read of each. */
  readonly rows: number;
  readonly length: number;
  readonly microBatchSize: number;
  /** Passes at a time, each on one thread. */
  readonly lanes: number;
}

/** Some numbers from −½ to ½. */
export function noise(ort: OrtRuntime, shape: readonly number[]): OrtTensor {
  const length = shape.reduce((product, size) => product * size, 1);
  return ort.tensor(
    "float32",
    shape,
    Float32Array.from({ length }, (_, i) => ((i * 7919) % 1013) / 1013 - 0.5),
  );
}

/** [outputs, inputs] of every matrix of the model, the tied head among them. */
function matrices({
  hiddenSize,
  intermediateSize,
  layers,
  heads,
  kvHeads,
  headSize,
  vocabSize,
}: LlamaConfig): (readonly [number, number])[] {
  const [query, key] = [heads * headSize, kvHeads * headSize];
  const ofLayer = [
    [query, hiddenSize],
    [key, hiddenSize],
    [key, hiddenSize],
    [hiddenSize, query],
    [intermediateSize, hiddenSize],
    [intermediateSize, hiddenSize],
    [hiddenSize, intermediateSize],
  ] as const;
  return [...Array.from({ length: layers }, () => ofLayer).flat(), [vocabSize, hiddenSize]];
}

/** The products of one micro-batch. */
async function openPass(
  ort: OrtRuntime,
  { config, microBatchSize, length }: ProductShape,
): Promise<() => Promise<void>> {
  const graph = createGraph("products");
  const inputs: Record<string, OrtTensor> = {};
  const outputs: Record<string, OrtTensor> = {};
  const input = (shape: readonly number[]): Value => {
    const name = `in${Object.keys(inputs).length}`;
    inputs[name] = noise(ort, shape);
    return graph.input(name, "float32", shape);
  };
  const output = (value: Value, shape: readonly number[]): void => {
    const name = `out${Object.keys(outputs).length}`;
    outputs[name] = ort.tensor("float32", shape);
    graph.output(name, value);
  };
  const tokens = microBatchSize * length;
  for (const [out, into] of matrices(config)) {
    const [x, w, dy] = [input([tokens, into]), input([out, into]), input([tokens, out])];
    output(graph.one("Gemm", [x, w], { transB: 1 }), [tokens, out]);
    output(graph.one("Gemm", [dy, w], {}), [tokens, into]);
    output(graph.one("Gemm", [dy, x, input([out, into])], { transA: 1 }), [out, into]);
  }
  const [batch, size] = [microBatchSize * config.heads, config.headSize];
  const [square, tall, wide] = [
    [batch, length, length],
    [batch, length, size],
    [batch, size, length],
  ] as const;
  for (let layer = 0; layer < config.layers; layer++) {
    // Scores and their gradient; then what scores, probabilities and gradients make of queries, keys and values.
    for (let i = 0; i < 2; i++) output(matMul(input(tall), input(wide)), square);
    for (let i = 0; i < 4; i++) output(matMul(input(square), input(tall)), tall);
  }
  const session = await ort.createSession(serializeModel(graph));
  const binding = session.bind(inputs, outputs);
  return () => session.run(binding);
}

/** Does the products of a step; gives the seconds that they took. */
export async function openProducts(shape: ProductShape): Promise<() => Promise<number>> {
  const ort = await openOrt({ driver: "native", threads: 1 });
  const lanes = await Promise.all(Array.from({ length: shape.lanes }, () => openPass(ort, shape)));
  const passes = Math.ceil(shape.rows / shape.microBatchSize / shape.lanes);
  return async () => {
    const begin = performance.now();
    await Promise.all(
      lanes.map(async (pass) => {
        for (let i = 0; i < passes; i++) await pass();
      }),
    );
    return (performance.now() - begin) / 1000;
  };
}
