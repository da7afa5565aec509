/**
 * The trainer on the calling thread: packs rows, runs the gradient graph once per micro-batch and AdamW once per update.
 * It blocks while it computes; `createTrainer` puts it into a worker thread (P1).
 */
import { OarlockError } from "@oarlock/errors";
import type { LlamaConfig } from "@oarlock/nn";
import { openOrt, type OrtRuntime, type OrtSession, type OrtTensor } from "@oarlock/ort";
import type { DType, TypedArray } from "@oarlock/tensor";
import { accumulatorName, gradientName, sumName } from "./graphs.ts";
import { objectiveInputs, type OldLogprobs } from "./objective.ts";
import { checkStepOptions } from "./options.ts";
import { createOptimizer, type Optimizer } from "./optimizer.ts";
import {
  checkRows,
  isTrained,
  type WantedToken,
  gatherPlaces,
  packRows,
  paddedLength,
  type PackedRows,
  pieces,
  trainedTokens,
  weighRows,
  type WeightedRow,
} from "./packing.ts";
import { createSessionCache, type SessionCache } from "./sessions.ts";
import { createFlatState, type FlatState, restoreFlatState, type Tensors } from "./state.ts";
import { addSums, emptySums, meanSums, SUM_NAMES, tokenMeans } from "./sums.ts";
import type {
  LogprobOptions,
  LogprobSource,
  StepOptions,
  StepResult,
  StepSums,
  TrainerOptions,
  TrainerState,
  TrainingRow,
  UpdateResult,
} from "./types.ts";

const LENGTH_MULTIPLE = 16;

/** As `Trainer`, on this thread. */
export class TrainerCore {
  readonly #ort: OrtRuntime;
  readonly #config: LlamaConfig;
  readonly #lengthMultiple: number;
  readonly #state: FlatState;
  readonly #sessions: SessionCache;
  readonly #optimizer: Optimizer;
  readonly #tensors: {
    readonly weights: Tensors;
    readonly accumulators: Tensors;
    readonly gradients: Tensors;
  };
  #reference: Float32Array | undefined;
  #optimizerStep = 0;

  private constructor(ort: OrtRuntime, options: TrainerOptions, state: FlatState, optimizer: Optimizer) {
    this.#ort = ort;
    this.#config = options.config;
    this.#lengthMultiple = options.lengthMultiple ?? LENGTH_MULTIPLE;
    this.#state = state;
    this.#sessions = createSessionCache(ort);
    this.#optimizer = optimizer;
    this.#tensors = {
      weights: state.views(state.weights, (view) => view),
      accumulators: state.views(state.gradients, accumulatorName),
      gradients: state.views(state.gradients, gradientName),
    };
  }

  static async open(options: TrainerOptions): Promise<TrainerCore> {
    const ort = await openOrt(options.ort);
    const state = createFlatState(ort, options.config, options.weights);
    return new TrainerCore(ort, options, state, await createOptimizer(ort, state));
  }

  get weights(): Float32Array {
    return this.#state.weights;
  }

  /** The gradients of the last update, flat, before clipping: for tests. */
  get gradients(): Float32Array {
    return this.#state.gradients;
  }

  async step(rows: readonly TrainingRow[], options: StepOptions, signal?: AbortSignal): Promise<StepResult> {
    const begin = performance.now();
    checkRows(rows, this.#config);
    checkStepOptions(options);
    const { epochs = 1, miniBatchSize = rows.length } = options;
    const updateCount = epochs * Math.ceil(rows.length / Math.max(1, miniBatchSize));
    const complete = await this.#completeRows(rows, options, updateCount, signal);
    const updates: UpdateResult[] = [];
    let computed = 0;
    for (let epoch = 0; epoch < epochs; epoch++) {
      for (const miniBatch of pieces(complete.rows, miniBatchSize)) {
        await pause(signal);
        const accumulated = await this.#accumulate(miniBatch, options, complete.old, signal);
        computed += accumulated.computed;
        updates.push({ sums: accumulated.sums, ...this.#apply(options) });
      }
    }
    return {
      sums: meanSums(updates.map(({ sums }) => sums)),
      gradNorm: updates.reduce((sum, { gradNorm }) => sum + gradNorm, 0) / updates.length,
      applied: updates.every(({ applied }) => applied),
      updates,
      tokens: {
        trained: rows.reduce((sum, row) => sum + trainedTokens(row), 0),
        total: rows.reduce((sum, { tokens }) => sum + tokens.length, 0),
        computed,
      },
      seconds: (performance.now() - begin) / 1000,
      optimizerStep: this.#optimizerStep,
    };
  }

  async logprobs(
    rows: readonly TrainingRow[],
    source: LogprobSource,
    options: LogprobOptions,
    signal?: AbortSignal,
  ): Promise<Float32Array[]> {
    checkRows(rows, this.#config);
    return this.#forward(rows, { ...options, source, wanted: () => true }, signal);
  }

  captureReference(): void {
    this.#reference = this.#state.weights.slice();
  }

  snapshot(): TrainerState {
    const { weights, first, second } = this.#state;
    return {
      weights: weights.slice(),
      firstMoments: first.slice(),
      secondMoments: second.slice(),
      ...(this.#reference === undefined ? {} : { reference: this.#reference.slice() }),
      optimizerStep: this.#optimizerStep,
    };
  }

  restore(from: TrainerState): void {
    restoreFlatState(this.#state, from);
    this.#reference = from.reference?.slice();
    this.#optimizerStep = from.optimizerStep;
  }

  resetOptimizer(): void {
    this.#state.first.fill(0);
    this.#state.second.fill(0);
    this.#optimizerStep = 0;
  }

  async close(): Promise<void> {
    await this.#sessions.close();
    await this.#optimizer.close();
    await this.#ort.close();
  }

  /** Log-probs of the wanted tokens, 0 elsewhere. */
  async #forward(
    rows: readonly TrainingRow[],
    options: LogprobOptions & { readonly source: LogprobSource; readonly wanted: WantedToken },
    signal: AbortSignal | undefined,
  ): Promise<Float32Array[]> {
    const weights = this.#weightsOf(options.source);
    const results = rows.map(({ tokens }) => new Float32Array(tokens.length));
    let done = 0;
    for (const microBatch of pieces(rows, options.microBatchSize)) {
      await pause(signal);
      const length = paddedLength(microBatch, this.#lengthMultiple, this.#config.maxPositions);
      const packed = packRows(microBatch, length, options.wanted);
      const { temperature = 1 } = options;
      const session = await this.#sessions.logprobs({
        config: this.#config,
        length,
        temperature,
        chosen: !coversAll(packed),
      });
      const logprobs = this.#ort.tensor("float32", [packed.chosenCount]);
      if (packed.chosenCount > 0)
        this.#run(session, { ...weights, ...this.#packedTensors(packed) }, { logprobs });
      for (const [i, { row, token }] of packed.places.entries()) {
        const result = results[done + row];
        if (result !== undefined) result[token] = Number(logprobs.data[i]);
      }
      done += microBatch.length;
    }
    return results;
  }

  #weightsOf(source: LogprobSource): Tensors {
    if (source === "policy") return this.#tensors.weights;
    if (this.#reference === undefined) {
      throw new OarlockError(
        "TRAINING_NO_REFERENCE",
        "no reference policy was captured; call captureReference first",
      );
    }
    return this.#state.views(this.#reference, (view) => view);
  }

  /** Adds what the objective needs and the rows lack: reference log-probs, and old ones when there are several updates. */
  async #completeRows(
    rows: readonly TrainingRow[],
    options: StepOptions,
    updateCount: number,
    signal: AbortSignal | undefined,
  ): Promise<{ rows: readonly TrainingRow[]; old: OldLogprobs }> {
    const given = rows.every(({ oldLogprobs }) => oldLogprobs !== undefined);
    const old: OldLogprobs = given || updateCount > 1 ? "fed" : "own";
    let complete = rows;
    const needed = objectiveInputs(options.objective, old);
    if (needed.includes("oldLogprobs") && !given) {
      const found = await this.#forward(
        complete,
        { ...options, source: "policy", wanted: isTrained },
        signal,
      );
      complete = complete.map((row, i) => ({
        ...row,
        oldLogprobs: found[i] ?? new Float32Array(row.tokens.length),
      }));
    }
    if (needed.includes("refLogprobs") && !rows.every(({ refLogprobs }) => refLogprobs !== undefined)) {
      const found = await this.#forward(
        complete,
        { ...options, source: "reference", wanted: isTrained },
        signal,
      );
      complete = complete.map((row, i) => ({
        ...row,
        refLogprobs: found[i] ?? new Float32Array(row.tokens.length),
      }));
    }
    return { rows: complete, old };
  }

  /** Gradients of one mini-batch, micro-batch by micro-batch, into the flat gradient array. */
  async #accumulate(
    rows: readonly TrainingRow[],
    options: StepOptions,
    old: OldLogprobs,
    signal: AbortSignal | undefined,
  ): Promise<{ sums: StepSums; computed: number }> {
    const trained = rows.reduce((sum, row) => sum + trainedTokens(row), 0);
    if (trained === 0)
      throw new OarlockError(
        "TRAINING_NOTHING_TO_TRAIN",
        `none of the ${rows.length} rows has a token to train`,
      );
    // Rows of like length together: less padding. The order is a function of the rows (D1).
    const ordered = weighRows(rows, options.aggregation, options.maxLength).toSorted(
      (a, b) => a.tokens.length - b.tokens.length,
    );
    let sums = emptySums();
    let computed = 0;
    let accumulate = false;
    for (const microBatch of pieces(ordered, options.microBatchSize)) {
      await pause(signal);
      const part = microBatch.filter((row) => trainedTokens(row) > 0);
      if (part.length === 0) continue;
      const found = await this.#runMicroBatch(part, { options, old, accumulate });
      sums = addSums(sums, found.sums);
      computed += found.computed;
      accumulate = true;
    }
    const totalWeight = ordered.reduce(
      (total, row) => row.tokenWeights.reduce((sum, weight) => sum + weight, total),
      0,
    );
    return { sums: tokenMeans(sums, totalWeight), computed };
  }

  async #runMicroBatch(
    rows: readonly WeightedRow[],
    { options, old, accumulate }: { options: StepOptions; old: OldLogprobs; accumulate: boolean },
  ): Promise<{ sums: StepSums; computed: number }> {
    const { objective, temperature = 1 } = options;
    const length = paddedLength(rows, this.#lengthMultiple, this.#config.maxPositions);
    const packed = packRows(rows, length, isTrained);
    const session = await this.#sessions.gradients({
      config: this.#config,
      length,
      temperature,
      chosen: !coversAll(packed),
      objective,
      old,
      accumulate,
    });
    const perToken = (name: string, value: (row: WeightedRow, token: number) => number): Tensors => ({
      [name]: this.#tensor("float32", [packed.chosenCount], gatherPlaces(packed, rows, value)),
    });
    const extra = objectiveInputs(objective, old).map((name) =>
      perToken(name, (row, token) => requireElement(row, name, token)),
    );
    const inputs: Tensors = {
      ...this.#tensors.weights,
      ...(accumulate ? this.#tensors.accumulators : {}),
      ...this.#packedTensors(packed),
      ...perToken("weight", (row, token) => row.tokenWeights[token] ?? 0),
      ...Object.assign({}, ...extra),
    };
    const sumTensors = Object.fromEntries(
      session.outputs
        .filter(({ name }) => name.startsWith(sumName("")))
        .map(({ name }) => [name, this.#ort.tensor("float32", [])]),
    );
    this.#run(session, inputs, { ...this.#tensors.gradients, ...sumTensors });
    const sums = emptySums();
    for (const name of SUM_NAMES) sums[name] = Number(sumTensors[sumName(name)]?.data[0] ?? 0);
    return { sums, computed: packed.batch * packed.length };
  }

  /** W3: an update whose gradient norm is not finite changes nothing. */
  #apply({ optimizer }: StepOptions): { gradNorm: number; applied: boolean } {
    const gradNorm = this.#optimizer.gradientNorm();
    if (!Number.isFinite(gradNorm)) return { gradNorm, applied: false };
    this.#optimizerStep += 1;
    this.#optimizer.apply(optimizer, this.#optimizerStep, gradNorm);
    return { gradNorm, applied: true };
  }

  #tensor(dtype: DType, shape: readonly number[], data: TypedArray): OrtTensor {
    return this.#ort.tensor(dtype, shape, data);
  }

  #packedTensors({ batch, length, chosenCount, ids, positions, chosen, targets }: PackedRows): Tensors {
    return {
      ids: this.#tensor("int64", [batch, length], ids),
      positions: this.#tensor("int64", [batch, length], positions),
      chosen: this.#tensor("int64", [chosenCount], chosen),
      targets: this.#tensor("int64", [chosenCount], targets),
    };
  }

  #run(session: OrtSession, inputs: Tensors, outputs: Tensors): void {
    const used = Object.fromEntries(session.inputs.map(({ name }) => [name, inputs[name]])) as Tensors; // bind names what is missing
    const binding = session.bind(used, outputs);
    try {
      session.runSync(binding);
    } finally {
      binding.dispose();
    }
  }
}

/** Whether every position of the padded rows is predicted from, so that choosing would only copy. */
const coversAll = ({ batch, length, chosenCount }: PackedRows): boolean => chosenCount === batch * length;

/** Between two runs: lets the thread's messages in (an abort is one), then stops if asked to. */
async function pause(signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return;
  await new Promise((resolve) => setImmediate(resolve));
  if (signal.aborted)
    throw new OarlockError("TRAINING_ABORTED", "the call was stopped", { cause: signal.reason });
}

function requireElement(
  row: TrainingRow,
  name: "advantages" | "oldLogprobs" | "refLogprobs",
  token: number,
): number {
  const array = row[name];
  if (array === undefined) throw new OarlockError("TRAINING_ROW", `the objective needs ${name} on every row`);
  return array[token] ?? 0;
}
