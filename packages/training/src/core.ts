/**
 * The trainer on the calling thread: completes rows, accumulates gradients over micro-batches, applies one update each
 * mini-batch. It blocks while it computes; `createTrainer` puts it into a worker thread (P1).
 */
import { OarlockError } from "@oarlock/errors";
import { openOrt, type OrtRuntime, type OrtTensor } from "@oarlock/ort";
import { reachMoment } from "@oarlock/runtime";
import { pause } from "./calls.ts";
import { allEnded, createLane, type Lane, runLanes } from "./lanes.ts";
import { checkHead, objectiveInputs, type OldLogprobs, rowsTogether, trainsHeadOnly } from "./objective.ts";
import { createOptimizer, type Optimizer } from "./optimizer.ts";
import { checkTogether, checkStepOptions, checkTrainerOptions } from "./options.ts";
import {
  type Batching,
  checkRows,
  isTrained,
  passBatches,
  pieces,
  trainedTokens,
  weighRows,
} from "./packing.ts";
import { createPassContext, forwardPass, type ForwardPass, type PassContext } from "./passes.ts";
import {
  contentOf,
  createFlatState,
  disposeAll,
  duplicate,
  type FlatState,
  readInto,
  resident,
  restoreFlatState,
  type Tensors,
  viewTensors,
  writeFrom,
} from "./state.ts";
import { addSums, emptySums, meanSums, tokenMeans } from "./sums.ts";
import type {
  ForwardOptions,
  LogprobOptions,
  LogprobSource,
  StateArray,
  StateFacts,
  StepOptions,
  StepResult,
  StepSums,
  TrainerOptions,
  TrainerState,
  TrainingRow,
  UpdateResult,
} from "./types.ts";

interface Parts {
  readonly ort: OrtRuntime;
  readonly context: PassContext;
  readonly state: FlatState;
  readonly lanes: readonly Lane[];
  readonly optimizer: Optimizer;
}

/** As `Trainer`, on this thread. */
export class TrainerCore {
  readonly #parts: Parts;
  readonly #weights: Tensors;
  #reference: OrtTensor | undefined;
  #referenceViews: Tensors | undefined;
  #optimizerStep = 0;
  /** Further updates, of the value head alone. */
  #headStep = 0;

  private constructor(parts: Parts) {
    this.#parts = parts;
    this.#weights = viewTensors(parts.ort, parts.state.layout.views, { flat: parts.state.weights });
  }

  static async open(options: TrainerOptions): Promise<TrainerCore> {
    checkTrainerOptions(options);
    const { config, lanes: laneCount = 1 } = options;
    const ort = await openOrt(options.ort);
    const state = createFlatState(ort, config, options.weights);
    const context = createPassContext(ort, config, laneCount > 1);
    const lanes = Array.from({ length: laneCount }, (_, i) =>
      createLane(context, i === 0 ? state.gradients : duplicate(ort, state.gradients)),
    );
    const optimizer = await createOptimizer(ort, {
      state,
      lanes,
      threads: laneCount * (options.ort?.threads ?? 1),
      head: config.head,
    });
    return new TrainerCore({ ort, context, state, lanes, optimizer });
  }

  /** The weights, flat: a copy. */
  get weights(): Float32Array {
    return contentOf(this.#parts.ort, this.#parts.state.weights);
  }

  /** The gradients of the last update, flat, before clipping: a copy, for tests. */
  get gradients(): Float32Array {
    return contentOf(this.#parts.ort, this.#parts.state.gradients);
  }

  async step(rows: readonly TrainingRow[], options: StepOptions, signal?: AbortSignal): Promise<StepResult> {
    const begin = performance.now();
    reachMoment("update-begins");
    checkRows(rows, this.#parts.context.config);
    if (options.mix !== undefined) checkRows(options.mix.rows, this.#parts.context.config);
    checkStepOptions(options);
    checkTogether(rows.length, options);
    checkHead(options.objective, this.#parts.context.config);
    const { epochs = 1, miniBatchSize = rows.length, maxKl = Number.POSITIVE_INFINITY } = options;
    const updateCount = epochs * Math.ceil(rows.length / Math.max(1, miniBatchSize));
    const { rows: complete, old } = await this.#completeRows(rows, options, updateCount, signal);
    const updates: UpdateResult[] = [];
    let [computed, stopped] = [0, false];
    for (const indices of this.#updatesOf(complete, options)) {
      const found = await this.#accumulate(indices, complete, { options, old }, signal);
      computed += found.computed;
      stopped = found.sums.oldKl > maxKl;
      if (stopped) break;
      reachMoment("gradients-ready");
      const applyMs = performance.now();
      const outcome = this.#apply(options);
      reachMoment("update-applied");
      const applySeconds = (performance.now() - applyMs) / 1000;
      updates.push({ sums: found.sums, ...outcome, gradSeconds: found.gradSeconds, applySeconds });
    }
    return {
      sums: meanSums(updates.map(({ sums }) => sums)),
      gradNorm: updates.reduce((sum, { gradNorm }) => sum + gradNorm, 0) / Math.max(1, updates.length),
      applied: updates.every(({ applied }) => applied),
      updates,
      stopped,
      tokens: {
        trained: rows.reduce((sum, row) => sum + trainedTokens(row), 0),
        total: rows.reduce((sum, { tokens }) => sum + tokens.length, 0),
        computed,
      },
      seconds: (performance.now() - begin) / 1000,
      optimizerStep: this.#optimizerStep + this.#headStep,
    };
  }

  async logprobs(
    rows: readonly TrainingRow[],
    source: LogprobSource,
    options: LogprobOptions,
    signal?: AbortSignal,
  ): Promise<Float32Array[]> {
    checkRows(rows, this.#parts.context.config);
    const { trainedOnly = false, temperature = 1 } = options;
    const wanted = trainedOnly ? isTrained : () => true;
    return this.#forward(rows, options, { weights: this.#weightsOf(source), temperature, wanted }, signal);
  }

  async scores(
    rows: readonly TrainingRow[],
    options: ForwardOptions,
    signal?: AbortSignal,
  ): Promise<Float32Array[]> {
    const { head = "logits" } = this.#parts.context.config;
    if (head === "score") return this.logprobs(rows, "policy", options, signal);
    if (head === "both") {
      checkRows(rows, this.#parts.context.config);
      const wanted = options.trainedOnly === true ? isTrained : () => true;
      return this.#forward(
        rows,
        options,
        { weights: this.#weights, temperature: 1, wanted, output: "scores" },
        signal,
      );
    }
    throw new OarlockError("TRAINING_OPTION", `this model gives ${head}; scores need one that gives scores`);
  }

  load(weights: Float32Array): void {
    writeFrom(this.#parts.ort, this.#parts.state.weights, weights);
  }

  captureReference(): void {
    this.#setReference(duplicate(this.#parts.ort, this.#parts.state.weights));
  }

  stateFacts(): StateFacts {
    const arrays = Object.entries(this.#stateArrays()).flatMap(
      ([name, array]) => (array === undefined ? [] : [name as StateArray]), // the keys of the table below
    );
    const steps = {
      optimizerStep: this.#optimizerStep,
      ...(this.#headStep === 0 ? {} : { headStep: this.#headStep }),
    };
    return { arrays, elements: this.#parts.state.layout.length, ...steps };
  }

  copyState(name: StateArray, into: Float32Array): void {
    const array = this.#stateArrays()[name];
    if (array === undefined) throw new OarlockError("TRAINING_STATE", `there is no ${name}`);
    readInto(this.#parts.ort, array, into);
  }

  #stateArrays(): { readonly [N in StateArray]: OrtTensor | undefined } {
    const { weights, first, second } = this.#parts.state;
    return { weights, firstMoments: first, secondMoments: second, reference: this.#reference };
  }

  restore(from: TrainerState): void {
    const { ort, state } = this.#parts;
    restoreFlatState(ort, state, from);
    this.#setReference(from.reference && resident(ort, from.reference.slice()));
    this.#optimizerStep = from.optimizerStep;
    this.#headStep = from.headStep ?? 0;
  }

  resetOptimizer(): void {
    const { ort, state } = this.#parts;
    const zeros = new Float32Array(state.layout.length);
    writeFrom(ort, state.first, zeros);
    writeFrom(ort, state.second, zeros);
    this.#optimizerStep = 0;
    this.#headStep = 0;
  }

  async close(): Promise<void> {
    const { context, optimizer, lanes, state, ort } = this.#parts;
    await context.close();
    await optimizer.close();
    this.#setReference(undefined);
    for (const lane of lanes) lane.dispose();
    disposeAll(this.#weights, state.weights, state.gradients, state.first, state.second);
    await ort.close();
  }

  #setReference(reference: OrtTensor | undefined): void {
    disposeAll(this.#referenceViews, this.#reference);
    this.#reference = reference;
    const { ort, state } = this.#parts;
    this.#referenceViews = reference && viewTensors(ort, state.layout.views, { flat: reference });
  }

  #weightsOf(source: LogprobSource): Tensors {
    if (source === "policy") return this.#weights;
    if (this.#referenceViews === undefined) {
      throw new OarlockError(
        "TRAINING_NO_REFERENCE",
        "no reference policy was captured; call captureReference first",
      );
    }
    return this.#referenceViews;
  }

  async #forward(
    rows: readonly TrainingRow[],
    options: ForwardOptions,
    pass: ForwardPass,
    signal: AbortSignal | undefined,
  ): Promise<Float32Array[]> {
    const { microBatchSize, miniBatchSize = rows.length, order = identity(rows.length) } = options;
    const results = rows.map(({ tokens }) => new Float32Array(tokens.length));
    // As a step will take them, so that its first update finds the very same numbers; those it leaves out come in order.
    const batching = { microBatchSize, miniBatchSize, together: 1 };
    const microBatches = options.trainedOnly
      ? passBatches(rows, order, batching).flat()
      : pieces(Array.from(order), microBatchSize);
    const { context, lanes } = this.#parts;
    const forward = async (indices: readonly number[]): Promise<void> => {
      const found = await forwardPass(context, pick(rows, indices), pass);
      indices.forEach((index, i) => results[index]?.set(found[i] ?? []));
    };
    for (const together of pieces(microBatches, lanes.length)) {
      await pause(signal);
      await allEnded(together.map(forward));
    }
    return results;
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
    const needed = objectiveInputs(options.objective, old);
    const { microBatchSize, miniBatchSize = rows.length, temperature = 1 } = options;
    const order = options.order?.[0] ?? identity(rows.length);
    const forward = { microBatchSize, miniBatchSize, order, trainedOnly: true };
    const logprobsOf = (source: LogprobSource): Promise<Float32Array[]> =>
      this.#forward(
        rows,
        forward,
        { weights: this.#weightsOf(source), temperature, wanted: isTrained },
        signal,
      );
    let complete = rows;
    if (needed.includes("oldLogprobs") && !given) {
      const found = await logprobsOf("policy");
      complete = complete.map((row, i) => withArray(row, "oldLogprobs", found[i]));
    }
    if (needed.includes("refLogprobs") && !rows.every(({ refLogprobs }) => refLogprobs !== undefined)) {
      const found = await logprobsOf("reference");
      complete = complete.map((row, i) => withArray(row, "refLogprobs", found[i]));
    }
    return { rows: complete, old };
  }

  /** The updates of a step: which rows, in which micro-batches. */
  #updatesOf(rows: readonly TrainingRow[], options: StepOptions): number[][][] {
    const { microBatchSize, miniBatchSize = rows.length, epochs = 1 } = options;
    const batching: Batching = { microBatchSize, miniBatchSize, together: rowsTogether(options.objective) };
    return Array.from({ length: epochs }, (_, epoch) =>
      passBatches(rows, options.order?.[epoch] ?? identity(rows.length), batching),
    ).flat();
  }

  /** The gradients of one update, left in the lanes; with the sums of its loss. */
  async #accumulate(
    microBatches: readonly (readonly number[])[],
    rows: readonly TrainingRow[],
    { options, old }: { readonly options: StepOptions; readonly old: OldLogprobs },
    signal: AbortSignal | undefined,
  ): Promise<{ sums: StepSums; computed: number; gradSeconds: number }> {
    const { context, lanes } = this.#parts;
    const trained = pick(rows, microBatches.flat());
    if (trained.length === 0) {
      throw new OarlockError(
        "TRAINING_NOTHING_TO_TRAIN",
        `none of the ${rows.length} rows has a token to train`,
      );
    }
    const weighted = weighRows(trained, options.aggregation, options.maxLength);
    const run = { weights: this.#weights, options, old, pause: () => pause(signal) };
    const byIndex = new Map(microBatches.flat().map((index, i) => [index, weighted[i]] as const));
    const batches = microBatches.map((indices) => indices.flatMap((index) => byIndex.get(index) ?? []));
    const beginMs = performance.now();
    for (const lane of lanes) lane.clear();
    const results = await runLanes(context, lanes, batches, run);
    const mixed = await this.#accumulateMixed(options, run);
    const gradSeconds = (performance.now() - beginMs) / 1000;
    const total = results.reduce<StepSums>((sum, { sums }) => addSums(sum, sums), emptySums());
    const weight = weighted.reduce((sum, row) => row.tokenWeights.reduce((all, one) => all + one, sum), 0);
    const { loss, ...sums } = tokenMeans(total, weight);
    const { coefficient = 0 } = options.mix ?? {};
    const mixedNll = mixed?.nll ?? 0;
    return {
      sums: { ...sums, mixedNll, loss: loss + coefficient * mixedNll },
      computed: results.reduce((sum, one) => sum + one.computed, mixed?.computed ?? 0),
      gradSeconds,
    };
  }

  /** Adds the gradients of the rows that are mixed in; undefined where there are none. */
  async #accumulateMixed(
    { mix, microBatchSize }: StepOptions,
    run: Parameters<typeof runLanes>[3],
  ): Promise<{ nll: number; computed: number } | undefined> {
    if (mix === undefined || mix.coefficient === 0) return undefined;
    const { coefficient, rows } = mix;
    const { context, lanes } = this.#parts;
    const [order = []] = passBatches(rows, identity(rows.length), {
      microBatchSize,
      miniBatchSize: Math.max(1, rows.length),
      together: 1,
    });
    const weighted = weighRows(pick(rows, order.flat()), "token-mean-global", undefined).map((row) => ({
      ...row,
      tokenWeights: row.tokenWeights.map((weight) => weight * coefficient),
    }));
    const options: StepOptions = { ...run.options, objective: { type: "sft" }, temperature: 1 };
    const results = await runLanes(context, lanes, pieces(weighted, microBatchSize), { ...run, options });
    return {
      nll: results.reduce((sum, { sums }) => sum + sums.nll, 0) / coefficient,
      computed: results.reduce((sum, one) => sum + one.computed, 0),
    };
  }

  /** W3: an update whose gradient norm is not finite changes nothing. */
  #apply({ optimizer: settings, objective }: StepOptions): { gradNorm: number; applied: boolean } {
    const { optimizer } = this.#parts;
    const part = trainsHeadOnly(objective) ? "head" : "all";
    const gradientNorm = optimizer.combine(part);
    if (!Number.isFinite(gradientNorm)) return { gradNorm: gradientNorm, applied: false };
    if (part === "head") this.#headStep += 1;
    else this.#optimizerStep += 1;
    const step = this.#optimizerStep;
    optimizer.apply(settings, { part, gradientNorm, step, headStep: step + this.#headStep });
    return { gradNorm: gradientNorm, applied: true };
  }
}

const identity = (count: number): Int32Array => Int32Array.from({ length: count }, (_, i) => i);

const pick = (rows: readonly TrainingRow[], indices: readonly number[]): TrainingRow[] =>
  indices.flatMap((index) => rows[index] ?? []);

const withArray = (
  row: TrainingRow,
  name: "oldLogprobs" | "refLogprobs",
  array: Float32Array | undefined,
): TrainingRow => ({
  ...row,
  [name]: array ?? new Float32Array(row.tokens.length),
});
