/**
 * The caller's side of generation: starts workers, spreads requests over them, and turns their messages into promises.
 *
 * Nothing here computes (P1). Where a request runs decides nothing about its result (D2, D3), so the spreading is free
 * to follow the load: a request goes to the worker with the fewest samples in flight.
 */
import { OarlockError } from "@oarlock/errors";
import { type LlamaConfig, parameterLayout } from "@oarlock/nn";
import { checkRequest } from "./check.ts";
import type { LoadRequest } from "./protocol.ts";
import { shareWeights } from "./shared-weights.ts";
import type {
  Completion,
  GenerationPlan,
  GenerationRequest,
  Generator,
  GeneratorOptions,
  GeneratorStats,
  PolicyVersion,
  ProgressListener,
} from "./types.ts";
import { WorkerHandle } from "./worker-handle.ts";

const DEFAULTS = { slots: 64, workers: 1, threads: 1, layout: "inputs", maxWaiting: 65_536 } as const;

/** Fills the defaults. Throws `GENERATION_PLAN` for a plan that cannot keep D3, or that makes no sense. */
export function generationPlan(options: GeneratorOptions): GenerationPlan {
  const { config, slots = DEFAULTS.slots, workers = DEFAULTS.workers, threads = DEFAULTS.threads } = options;
  const { maxLength = config.maxPositions, layout = DEFAULTS.layout } = options;
  const plan = { slots, workers, threads, layout, maxLength };
  const problem = planProblem(plan, config.maxPositions);
  if (problem) throw new OarlockError("GENERATION_PLAN", problem);
  return plan;
}

function planProblem(plan: GenerationPlan, maxPositions: number): string | undefined {
  const { slots, workers, threads, maxLength, layout } = plan;
  for (const [field, value] of Object.entries({ slots, workers, threads, maxLength })) {
    if (!Number.isSafeInteger(value) || value < 1)
      return `${field} is ${value}; accepted: a positive integer`;
  }
  if (workers > slots) return `${workers} workers need at least as many slots, not ${slots}`;
  if (maxLength > maxPositions)
    return `maxLength is ${maxLength}; the model's positions end at ${maxPositions}`;
  if (layout === "initializers" || threads === 1) return undefined;
  return (
    `threads is ${threads} with weights as inputs: the bits of a product would depend on the batch (D3); ` +
    `accepted: 1 thread (and more workers), or the layout "initializers"`
  );
}

/** Starts the workers. Weights follow by `load`. */
export async function createGenerator(options: GeneratorOptions): Promise<Generator> {
  const plan = generationPlan(options);
  const { config, maxWaiting = DEFAULTS.maxWaiting, ort = {} } = options;
  const slots = Math.ceil(plan.slots / plan.workers);
  const settings = {
    config,
    layout: plan.layout,
    threads: plan.threads,
    maxLength: plan.maxLength,
    slots,
    maxWaiting,
    ort,
  };
  const starts = Array.from({ length: plan.workers }, () => WorkerHandle.start(settings));
  const started = await Promise.allSettled(starts);
  const workers = started.flatMap((start) => (start.status === "fulfilled" ? [start.value] : []));
  const failure = started.find((start) => start.status === "rejected");
  if (failure) {
    await Promise.all(workers.map((worker) => worker.close()));
    throw failure.reason;
  }
  return new WorkerGenerator(plan, config, workers);
}

class WorkerGenerator implements Generator {
  readonly plan: GenerationPlan;
  readonly #vocabulary: number;
  readonly #weightsLength: number;
  readonly #workers: readonly WorkerHandle[];
  #version: PolicyVersion | undefined;
  /** Settles when the workers know of every load asked for so far. */
  #posted: Promise<unknown> = Promise.resolve();

  constructor(plan: GenerationPlan, config: LlamaConfig, workers: readonly WorkerHandle[]) {
    this.plan = plan;
    this.#vocabulary = config.vocabSize;
    this.#weightsLength = parameterLayout(config).length;
    this.#workers = workers;
  }

  load(weights: Float32Array, version: PolicyVersion, signal?: AbortSignal): Promise<void> {
    return this.#change({ weights, version, inFlight: false }, signal);
  }

  switchTo(weights: Float32Array, version: PolicyVersion, signal?: AbortSignal): Promise<void> {
    return this.#change({ weights, version, inFlight: true }, signal);
  }

  async #change({ weights, ...how }: LoadRequest, signal?: AbortSignal): Promise<void> {
    if (weights.length !== this.#weightsLength) {
      const message = `the policy has ${weights.length} numbers; this model's flat array has ${this.#weightsLength}`;
      throw new OarlockError("GENERATION_WEIGHTS", message);
    }
    const earlier = this.#posted;
    const loads = (async () => {
      await earlier;
      const shared = await shareWeights(weights, signal);
      return this.#workers.map((worker) => worker.load({ ...how, weights: shared }));
    })();
    // Submissions wait until the workers have been told, so that they keep their place behind this load.
    this.#posted = loads.then(
      () => (this.#version = how.version),
      () => this.#version,
    );
    await Promise.all(await loads);
  }

  async submit(
    request: GenerationRequest,
    signal?: AbortSignal,
    onProgress?: ProgressListener,
  ): Promise<readonly Completion[]> {
    signal?.throwIfAborted();
    await this.#posted;
    signal?.throwIfAborted();
    if (!this.#version) throw new OarlockError("GENERATION_NO_WEIGHTS", "no policy has been loaded yet");
    checkRequest(request, { vocabulary: this.#vocabulary, maxLength: this.plan.maxLength });
    const size = this.#pieceSize(request.samples.length);
    const pieces: Promise<readonly Completion[]>[] = [];
    for (let start = 0; start < request.samples.length; start += size) {
      const piece = { ...request, samples: request.samples.slice(start, start + size) };
      pieces.push(this.#leastLoaded().submit(piece, signal, onProgress));
    }
    return (await Promise.all(pieces)).flat();
  }

  async stats(): Promise<GeneratorStats> {
    const all = await Promise.all(this.#workers.map((worker) => worker.stats()));
    const sum = (of: (part: (typeof all)[number]) => number): number =>
      all.reduce((total, part) => total + of(part), 0);
    const offered = sum((part) => part.decodeSteps * part.slots);
    return {
      prefills: sum((part) => part.prefills),
      promptTokens: sum((part) => part.promptTokens),
      decodeSteps: sum((part) => part.decodeSteps),
      tokens: sum((part) => part.tokens),
      completions: sum((part) => part.completions),
      occupancy: offered === 0 ? 0 : sum((part) => part.occupiedSlotSteps) / offered,
      waitingSamples: sum((part) => part.waitingSamples),
      activeSamples: sum((part) => part.activeSamples),
      busySeconds: sum((part) => part.busySeconds),
    };
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** A request that fills more than one worker's slots is shared among workers: a prefill more each, at most one a worker. */
  #pieceSize(samples: number): number {
    const { slots, workers } = this.plan;
    return Math.ceil(samples / Math.min(workers, Math.ceil(samples / Math.ceil(slots / workers))));
  }

  #leastLoaded(): WorkerHandle {
    const [first, ...others] = this.#workers;
    if (!first) throw new OarlockError("GENERATION_CLOSED", "the generator has no workers");
    return others.reduce((least, worker) => (worker.inFlight < least.inFlight ? worker : least), first);
  }
}
