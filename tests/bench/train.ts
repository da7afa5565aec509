/**
 * Training speed as a share of what plain matrix products reach in the same process: 6 · parameters · tokens over the time
 * of a whole step (forward, backward, clipping, AdamW, packing), against 2048³ through the same engine and threads.
 * A second row has the same for the products of the step alone (`products.ts`): what a step could reach at most, were all else
 * free. All are measured in turn, so that a busy machine slows all; a row is the median of the rounds.
 */
import { initialWeights, type LlamaConfig, parameterCount } from "@oarlock/nn";
import { createGraph, matMul, serializeModel } from "@oarlock/onnx";
import { openOrt, type OrtRuntime } from "@oarlock/ort";
import { initialNormals } from "@oarlock/rl";
import { type StepOptions, TrainerCore, type TrainingRow } from "@oarlock/training";
import { noise, openProducts } from "./products.ts";
import { type BenchRow, median } from "./row.ts";

const SIDE = 2048;
const ROUNDS = 9;
/** Of the products. Threads that spin between them would take the trainer's cores. */
const ENGINE = { driver: "native", threads: 2 } as const;
/** As a run opens its trainer: a lane for each thread. */
const TRAINER = { lanes: 2, ort: { driver: "native", threads: 1 } } as const;

const family = {
  ropeTheta: 10_000,
  ropeConvention: "interleaved",
  rmsNormEps: 1e-5,
  maxPositions: 512,
  tiedEmbeddings: true,
  qkvBias: false,
  qkNorm: false,
  vocabSize: 512,
} as const;

interface Shape {
  readonly name: string;
  readonly config: LlamaConfig;
  readonly rows: number;
  /** Tokens read of each row. */
  readonly length: number;
}

const shapes: readonly Shape[] = [
  {
    name: "stories260K",
    config: {
      ...family,
      hiddenSize: 64,
      intermediateSize: 172,
      layers: 5,
      heads: 8,
      kvHeads: 4,
      headSize: 8,
    },
    rows: 64, // 8 prompts × 8 samples
    length: 69,
  },
  {
    name: "5M",
    config: {
      ...family,
      hiddenSize: 256,
      intermediateSize: 768,
      layers: 6,
      heads: 8,
      kvHeads: 8,
      headSize: 32,
    },
    rows: 8,
    length: 128,
  },
];

const options = (rows: number): StepOptions => ({
  objective: { type: "sft" },
  aggregation: "token-mean-global",
  optimizer: { learningRate: 1e-3, weightDecay: 0.01, maxGradNorm: 1 },
  microBatchSize: rows > 8 ? 8 : 2, // what a plan fills in for these shapes
});

const rowsOf = ({ rows, length, config }: Shape): TrainingRow[] =>
  Array.from({ length: rows }, (_, r) => ({
    tokens: Int32Array.from(
      { length: length + 1 },
      (__, t) => (r * 31 + t * 7 + ((t * r) % 5)) % config.vocabSize,
    ),
    promptLength: 1,
    lossMask: new Uint8Array(length + 1).fill(1),
  }));

/** One product; GFLOP/s. */
async function openMatmul(ort: OrtRuntime): Promise<() => number> {
  const graph = createGraph("matmul");
  const side = (name: string) => graph.input(name, "float32", [SIDE, SIDE]);
  graph.output("y", matMul(side("a"), side("b")));
  const session = await ort.createSession(serializeModel(graph));
  const square = () => noise(ort, [SIDE, SIDE]);
  const binding = session.bind({ a: square(), b: square() }, { y: ort.tensor("float32", [SIDE, SIDE]) });
  return () => {
    const begin = performance.now();
    session.runSync(binding);
    return (2 * SIDE ** 3) / (performance.now() - begin) / 1e6;
  };
}

async function measure(shape: Shape, matmul: () => number): Promise<BenchRow[]> {
  const { config, rows, length } = shape;
  const weights = initialWeights(config, (count, index) => initialNormals(1, index, count));
  const trainer = await TrainerCore.open({ config, weights, ...TRAINER });
  const data = rowsOf(shape);
  const flops = 6 * parameterCount(config) * rows * length;
  const products = await openProducts({ ...shape, ...TRAINER, microBatchSize: options(rows).microBatchSize });
  for (let warm = 0; warm < 3; warm++) {
    await trainer.step(data, options(rows));
    await products();
  }
  const rounds: { step: number; products: number; yardstick: number }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const yardstick = matmul();
    const { seconds } = await trainer.step(data, options(rows));
    rounds.push({ step: flops / seconds / 1e9, products: flops / (await products()) / 1e9, yardstick });
  }
  await trainer.close();
  const row = (name: string, of: "step" | "products"): BenchRow => ({
    name: `train.${name}.${shape.name}`,
    value: median(rounds.map((round) => round[of])),
    unit: "GFLOP/s",
    relative_to: `matmul ${SIDE}³, 2 threads`,
    ratio: median(rounds.map((round) => round[of] / round.yardstick)),
  });
  return [row("matmul_ratio", "step"), row("products_ratio", "products")];
}

export async function rows(): Promise<BenchRow[]> {
  const ort = await openOrt(ENGINE);
  const matmul = await openMatmul(ort);
  for (let warm = 0; warm < 2; warm++) matmul();
  const measured: BenchRow[] = [];
  for (const shape of shapes) measured.push(...(await measure(shape, matmul)));
  await ort.close();
  return measured;
}
