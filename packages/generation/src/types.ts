/**
 * What a generator is asked for and what it gives back. Token ids in, token ids out: it knows no text, no rewards, no
 * bus, and no time.
 *
 * Invariants: D2 (a token depends on its sample's key and position), D3 (and on no other sequence of the batch), so a
 * completion is a function of weights, prompt, parameters and key: not of slots, workers, order or load.
 */
import type { LlamaConfig } from "@oarlock/nn";
import type { OpenOrtOptions } from "@oarlock/ort";
import type { SampleKey } from "@oarlock/rl";

/** How the next token is chosen from the model's distribution. Applied in the order of the fields. */
export interface SamplingParams {
  /** Divides the logits. 0 is greedy: the most probable token, the lowest id among equals. */
  readonly temperature: number;
  /** Keeps the k most probable tokens (ties at the border by lower id). 0: off. */
  readonly topK: number;
  /** Keeps the most probable tokens up to and including the one that reaches this mass. 1: off. */
  readonly topP: number;
  /** At least 1. The stop token counts. */
  readonly maxNewTokens: number;
  /** A sampled token of this list ends the sequence; it stays in the completion. */
  readonly stopTokens: readonly number[];
}

/** One prompt and the samples to draw from it: one prefill for all of them. */
export interface GenerationRequest {
  /** Unique among the requests in flight. */
  readonly id: string;
  /** At least one token. `prompt.length + maxNewTokens` may not pass the generator's `maxLength`. */
  readonly prompt: Int32Array;
  /** The keys of the samples (D2), in the order in which completions are returned. */
  readonly samples: readonly SampleKey[];
  readonly params: SamplingParams;
  /** Whether completions say how long they took. Changes no bits. Default false. */
  readonly timed?: boolean;
}

/** How long the parts of one sample took, milliseconds. */
export interface CompletionTiming {
  /** From the submission to the prefill of its prompt: a slot was busy. */
  readonly waitMs: number;
  /** Of its prompt, together with the others that were prefilled at once. */
  readonly prefillMs: number;
  /** From the end of the prefill to a slot of its own. */
  readonly slotMs: number;
  /** From the slot to the last token. */
  readonly decodeMs: number;
}

export type FinishReason = "stop" | "length" | "abort";

/** The identity of a policy: a number and the SHA-256 of the flat weights (W2). */
export interface PolicyVersion {
  readonly number: number;
  readonly digest: string;
}

/** Tokens [start, end) of a completion, drawn by one version. */
export interface VersionSegment {
  readonly start: number;
  readonly end: number;
  readonly version: PolicyVersion;
}

export interface Completion {
  /** `SampleKey.sample` of the key that it was drawn with. */
  readonly sample: number;
  readonly tokens: Int32Array;
  /**
   * Per token, nats, of the distribution that it was drawn from: after temperature, top-k and top-p. For greedy decoding,
   * whose distribution is a point, of the model's own distribution (temperature 1, nothing cut).
   */
  readonly logprobs: Float32Array;
  readonly finishReason: FinishReason;
  /** The weights that drew the last token; without `switchTo`, every one of them. */
  readonly version: PolicyVersion;
  /** Which weights drew which tokens: adjacent, from the first token to the last; empty where there are none. */
  readonly segments: readonly VersionSegment[];
  /** Where the request asked for it. */
  readonly timing?: CompletionTiming;
}

/** Tokens of one sample that were drawn since the last report. */
export interface TokenProgress {
  /** `SampleKey.sample`. */
  readonly sample: number;
  readonly tokens: Int32Array;
  /** As in `Completion`. */
  readonly logprobs: Float32Array;
  readonly version: PolicyVersion;
}

/** Hears of every sample's tokens in order, a few at a time, all of them before the submission resolves. */
export type ProgressListener = (progress: TokenProgress) => void;

/** Since creation. */
export interface GeneratorStats {
  readonly prefills: number;
  readonly promptTokens: number;
  readonly decodeSteps: number;
  /** Sampled tokens, those of the prefill included. */
  readonly tokens: number;
  readonly completions: number;
  /** Sequences decoded over slots, mean over all decode steps (the emptying at the end of the work included), 0 … 1. */
  readonly occupancy: number;
  readonly waitingSamples: number;
  readonly activeSamples: number;
  /** Seconds of compute, all workers together. */
  readonly busySeconds: number;
}

export interface Generator extends AsyncDisposable {
  /**
   * Replaces the weights: a flat array in the order of nn's parameter layout. Takes effect after every request submitted
   * before, and before every one submitted after. An array over a SharedArrayBuffer is read in place (do not write it
   * until this resolves); another one is copied. Throws `GENERATION_WEIGHTS` where the length is not the layout's.
   */
  load(weights: Float32Array, version: PolicyVersion, signal?: AbortSignal): Promise<void>;
  /**
   * As `load`, but takes effect before the next token of every sequence in flight. Their keys and values stay those that
   * older weights computed; `segments` of their completions say which weights drew what.
   */
  switchTo(weights: Float32Array, version: PolicyVersion, signal?: AbortSignal): Promise<void>;
  /**
   * Completions in the order of `request.samples`. When aborted, what was drawn so far, as "abort". Throws
   * `GENERATION_REQUEST`, `GENERATION_PARAMS`, `RANDOM_KEY` (a request that cannot run), `GENERATION_FULL` (too many
   * wait; retryable), `GENERATION_NO_WEIGHTS`, `GENERATION_NOT_FINITE` (the weights make no probabilities), and
   * `GENERATION_FAILED` or `WORKER_DIED` (the engine or its thread failed: create another generator).
   */
  submit(
    request: GenerationRequest,
    signal?: AbortSignal,
    onProgress?: ProgressListener,
  ): Promise<readonly Completion[]>;
  stats(): Promise<GeneratorStats>;
  /** What of this generator decides bits, for the fingerprint (D1b). */
  readonly plan: GenerationPlan;
  /** Ends after the step that runs; requests in flight are rejected (`WORKER_DIED`), later ones too (`WORKER_CLOSED`). */
  close(): Promise<void>;
}

/**
 * Where the weights sit: inputs need no new session per version, initializers are prepacked once per version (and may
 * use several threads). Measured on one thread, 64 rows of context 48: a step takes 1.33 against 1.28 ms (0.26 M
 * parameters), 1.38 against 1.26 (0.9 M), 7.5 against 6.3 (5.4 M); a change of weights 0.3 against 9 ms, 0.4 against 11,
 * 10 against 39: initializers pay after 180, 90 and 23 steps of one version. SmolLM2-135M, 8 rows: equal speed within
 * noise, 0.04 against 2.9 s a change, and a third of the memory: inputs.
 */
export type WeightLayout = "inputs" | "initializers";

/** The choices that change bits or speed: values of the run's plan (D1), never of the machine. */
export interface GenerationPlan {
  readonly layout: WeightLayout;
  /** Worker threads, each with its share of the slots. Does not change results. */
  readonly workers: number;
  /** Intra-op threads of a worker. With the layout "inputs" it must be 1 (D3). */
  readonly threads: number;
  /** Sequences decoded at once, all workers together. Does not change results. */
  readonly slots: number;
  /** Most tokens of a sequence, prompt included. */
  readonly maxLength: number;
}

export interface GeneratorOptions {
  readonly config: LlamaConfig;
  /** Default 64. */
  readonly slots?: number;
  /** Default `config.maxPositions`. */
  readonly maxLength?: number;
  /** Default 1. */
  readonly workers?: number;
  /** Default 1. */
  readonly threads?: number;
  /** Default "inputs". */
  readonly layout?: WeightLayout;
  /** Samples that may wait for a slot; beyond it `submit` rejects with `GENERATION_FULL` (Q1). Default 65,536. */
  readonly maxWaiting?: number;
  /** How the compute engine is opened in each worker. */
  readonly ort?: Omit<OpenOrtOptions, "threads">;
}
