/**
 * One run of a graph over one micro-batch: log-probs or scores alone, or loss with gradients. Packs the rows, runs, reads the results,
 * and releases what was made for this run. It keeps no state and does not know updates.
 */
import { OarlockError } from "@oarlock/errors";
import type { LlamaConfig } from "@oarlock/nn";
import { sizesOf } from "@oarlock/onnx";
import type { OrtBinding, OrtRuntime, OrtSession, OrtTensor } from "@oarlock/ort";
import { FORWARD_OUTPUT, type ForwardSpec, type ModelSizes, sumName } from "./graphs.ts";
import {
  KL_COEFFICIENT,
  objectiveInputs,
  type OldLogprobs,
  rowsTogether,
  type TokenInput,
  trainsHeadOnly,
} from "./objective.ts";
import {
  extentOf,
  gatherPlaces,
  isTrained,
  packRows,
  type PackedRows,
  type WantedToken,
  type WeightedRow,
} from "./packing.ts";
import { createRotary, type Rotary } from "./rotary.ts";
import { createSessionCache, type SessionCache, type TrainingSession } from "./sessions.ts";
import type { Tensors } from "./state.ts";
import { emptySums, SUM_NAMES } from "./sums.ts";
import type { Objective, StepOptions, StepSums, TrainingRow } from "./types.ts";

/** What every pass of a trainer shares. */
export interface PassContext {
  readonly ort: OrtRuntime;
  readonly config: LlamaConfig;
  readonly sessions: SessionCache;
  readonly rotary: Rotary;
  /** Whether runs go to other threads, so that several may be under way; else they block this one. */
  readonly concurrent: boolean;
  close(): Promise<void>;
}

export function createPassContext(ort: OrtRuntime, config: LlamaConfig, concurrent: boolean): PassContext {
  const [sessions, rotary] = [createSessionCache(ort, config), createRotary(ort, config)];
  const close = async (): Promise<void> => {
    await sessions.close();
    rotary.close();
  };
  return { ort, config, sessions, rotary, concurrent, close };
}

export interface ForwardPass {
  readonly weights: Tensors;
  readonly temperature: number;
  readonly wanted: WantedToken;
  /** Of a model that gives both. Default: log-probs. */
  readonly output?: "logprobs" | "scores";
}

/** Log-probs or scores of the wanted tokens of each row, 0 elsewhere. */
export async function forwardPass(
  context: PassContext,
  rows: readonly TrainingRow[],
  pass: ForwardPass,
): Promise<Float32Array[]> {
  const results = rows.map(({ tokens }) => new Float32Array(tokens.length));
  const packed = pack(context, rows, pass.wanted);
  if (packed.chosenCount === 0) return results;
  const shape = shapeOf(context, packed);
  const graph = await context.sessions.forward({
    ...shape,
    temperature: pass.temperature,
    ...(pass.output === undefined ? {} : { output: pass.output }),
  });
  const values = context.ort.tensor("float32", [packed.chosenCount]);
  await run(context, graph.session, {
    inputs: {
      kept: keptTensors(context, packed, pass.weights),
      fresh: packedTensors(context, packed, { ...shape, ...graph, output: pass.output }),
    },
    outputs: { kept: {}, fresh: { [FORWARD_OUTPUT]: values } },
  });
  for (let i = 0; i < packed.chosenCount; i++) {
    const result = results[packed.rowOf[i] ?? 0];
    if (result !== undefined) result[packed.tokenOf[i] ?? 0] = Number(values.data[i]);
  }
  return results;
}

export interface GradientPass {
  readonly weights: Tensors;
  /** Where the gradients go, by output name. */
  readonly gradients: Tensors;
  /** The same memory by accumulator name: they are added to what lies there. */
  readonly accumulators: Tensors;
  readonly options: StepOptions;
  readonly old: OldLogprobs;
}

export interface GradientResult {
  readonly sums: StepSums;
  /** Tokens read, padding included. */
  readonly computed: number;
}

/** Adds one micro-batch's gradients and returns its share of the sums. */
export async function gradientPass(
  context: PassContext,
  rows: readonly WeightedRow[],
  pass: GradientPass,
): Promise<GradientResult> {
  const { objective, temperature = 1 } = pass.options;
  const packed = pack(context, rows, isTrained);
  const output = trainsHeadOnly(objective) ? ("scores" as const) : undefined;
  const shape = shapeOf(context, packed, rowsTogether(objective));
  const { session, sizes } = await context.sessions.gradients({
    ...shape,
    temperature,
    objective: graphObjective(objective),
    old: pass.old,
    ...(output === undefined ? {} : { output }),
  });
  const perToken = (name: string, take: (row: WeightedRow) => Float32Array): Tensors => ({
    [name]: context.ort.tensor("float32", [packed.chosenCount], gatherPlaces(packed, rows, take)),
  });
  const fresh: Tensors = Object.assign(
    packedTensors(context, packed, { ...shape, sizes, output }),
    klTensor(context, objective),
    perToken("weight", (row) => row.tokenWeights),
    ...objectiveInputs(objective, pass.old).map((name) => perToken(name, (row) => arrayOf(row, name))),
  );
  const sumTensors = Object.fromEntries(
    session.outputs
      .filter(({ name }) => name.startsWith(sumName("")))
      .map(({ name }) => [name, context.ort.tensor("float32", [])]),
  );
  const { inputs, outputs } = session;
  await run(context, session, {
    inputs: {
      kept: {
        ...keptTensors(context, packed, pass.weights),
        ...tensorsOf(inputs, pass.accumulators),
      },
      fresh,
    },
    outputs: { kept: tensorsOf(outputs, pass.gradients), fresh: sumTensors },
  });
  const sums = emptySums();
  for (const name of SUM_NAMES) sums[name] = Number(sumTensors[sumName(name)]?.data[0] ?? 0);
  return { sums, computed: packed.ids.length };
}

/** Those that the graph has: where a head is trained alone, the others have no gradient. */
function tensorsOf(ports: OrtSession["outputs"], tensors: Tensors): Tensors {
  const names = new Set(ports.map(({ name }) => name));
  return Object.fromEntries(Object.entries(tensors).filter(([name]) => names.has(name)));
}

/** The objective as far as it decides the graph: how large a β is does not. */
function graphObjective(objective: Objective): Objective {
  return objective.type === "grpo" && objective.klCoefficient !== 0
    ? { ...objective, klCoefficient: 1 }
    : objective;
}

function klTensor({ ort }: PassContext, objective: Objective): Tensors {
  if (objective.type !== "grpo" || objective.klCoefficient === 0) return {};
  return { [KL_COEFFICIENT]: ort.tensor("float32", [], Float32Array.of(objective.klCoefficient)) };
}

function pack({ config }: PassContext, rows: readonly TrainingRow[], wanted: WantedToken): PackedRows {
  return packRows(rows, extentOf(rows, config.maxPositions), wanted);
}

/** What of the packed rows decides the graph. */
function shapeOf(
  { config }: PassContext,
  packed: PackedRows,
  together = 1,
): Pick<ForwardSpec, "config" | "prefixed" | "chosen"> {
  // Pairs and rankings are cut out of the chosen tokens, whose number is known to be a multiple.
  return { config, prefixed: packed.prefix > 0, chosen: together > 1 || !coversAll(packed) };
}

/** Whether every position of the padded rows is predicted from, in order, so that choosing would only copy. */
const coversAll = ({ prefix, ids, chosenCount }: PackedRows): boolean =>
  prefix === 0 && chosenCount === ids.length;

/** The weights and the rotary tables. */
const keptTensors = ({ rotary }: PassContext, { prefix, length }: PackedRows, weights: Tensors): Tensors => ({
  ...weights,
  ...rotary.of(prefix + length),
});

/** What of a graph decides which inputs it has. */
interface PackedFor extends Pick<TrainingSession, "sizes">, Pick<ForwardSpec, "chosen"> {
  readonly output: ForwardPass["output"] | undefined;
}

function packedTensors(
  { ort, config }: PassContext,
  packed: PackedRows,
  { sizes, chosen, output }: PackedFor,
): Record<string, OrtTensor> {
  const { batch, prefix, length, chosenCount } = packed;
  const named: ModelSizes = { rows: batch, tokens: length, prefix };
  const sizeTensors = sizes.map(({ name, dims }): [string, OrtTensor] => [
    name,
    ort.tensor("int64", [dims.length], BigInt64Array.from(sizesOf(dims, named), BigInt)),
  ]);
  return {
    ...Object.fromEntries(sizeTensors),
    ids: ort.tensor("int64", prefix > 0 ? [packed.ids.length] : [batch, length], packed.ids),
    positions: ort.tensor("int64", [batch, length], packed.positions),
    ...(prefix > 0 ? { prefixPositions: ort.tensor("int64", [1, prefix], packed.prefixPositions) } : {}),
    ...(config.head === "score" || output === "scores"
      ? {}
      : { targets: ort.tensor("int64", [chosenCount], packed.targets) }),
    ...(chosen ? { chosen: ort.tensor("int64", [chosenCount], packed.chosen) } : {}),
  };
}

function arrayOf(row: TrainingRow, name: TokenInput): Float32Array {
  const array = row[name];
  if (array === undefined) throw new OarlockError("TRAINING_ROW", `the objective needs ${name} on every row`);
  return array;
}

/** Tensors that outlive the run, and tensors made for it, which it releases. Their memory can be read afterwards. */
interface Bound {
  readonly kept: Tensors;
  readonly fresh: Tensors;
}

async function run(
  context: PassContext,
  session: OrtSession,
  { inputs, outputs }: { inputs: Bound; outputs: Bound },
): Promise<void> {
  let binding: OrtBinding | undefined;
  try {
    binding = session.bind({ ...inputs.kept, ...inputs.fresh }, { ...outputs.kept, ...outputs.fresh });
    if (context.concurrent) await session.run(binding);
    else session.runSync(binding);
  } finally {
    binding?.dispose();
    for (const tensor of [...Object.values(inputs.fresh), ...Object.values(outputs.fresh)]) tensor.dispose();
  }
}
