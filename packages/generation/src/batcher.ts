/**
 * One worker's generation: drives the scheduler, the engine and the sampling loops. `tick` admits who can be admitted,
 * runs one decode step for every occupied slot, and draws a token for each.
 *
 * Numbers live in packed arrays; the scheduler is asked only when somebody comes or goes. It knows no threads, messages
 * or time of day: what it is told to report goes to `handlers`.
 */
import { OarlockError } from "@oarlock/errors";
import { type RandomStream, randomStream, uniform } from "@oarlock/rl";
import type { DecodeEngine, Prefix } from "./engine.ts";
import { type Choice, choose, inverseTemperature, type Row } from "./sampling.ts";
import {
  createScheduler,
  schedule,
  type SchedulerEffect,
  type SchedulerEvent,
  type SchedulerState,
  type Seat,
} from "./scheduler.ts";
import type {
  Completion,
  CompletionTiming,
  FinishReason,
  GenerationRequest,
  PolicyVersion,
  ProgressListener,
  VersionSegment,
} from "./types.ts";

/** Who hears of results, request by request, in the order in which they end. */
export interface BatcherHandlers {
  readonly completed: (request: string, completions: readonly Completion[]) => void;
  readonly failed: (request: string, reason: unknown) => void;
}

export interface BatcherOptions {
  readonly engine: DecodeEngine;
  readonly vocabulary: number;
  readonly slots: number;
  readonly maxWaiting: number;
  readonly handlers: BatcherHandlers;
}

/** Counts since creation. */
export interface BatcherCounts {
  prefills: number;
  promptTokens: number;
  tokens: number;
  completions: number;
}

/** Tokens of a sample that are reported together: never one token a message. */
const PROGRESS_TOKENS = 8;

interface Pending {
  readonly request: GenerationRequest;
  readonly streams: readonly RandomStream[];
  readonly stops: ReadonlySet<number>;
  readonly completions: (Completion | undefined)[];
  readonly onProgress: ProgressListener | undefined;
  left: number;
  prefix: Prefix | undefined;
  /** What computed the prefix, and so draws the first token of its samples. */
  prefixVersion: PolicyVersion;
  readonly submittedMs: number;
  prefillStartMs: number;
  prefillEndMs: number;
}

/** A sequence in a slot. */
interface Sequence {
  readonly pending: Pending;
  readonly index: number;
  readonly stream: RandomStream;
  readonly tokens: Int32Array;
  readonly logprobs: Float32Array;
  count: number;
  /** How many of them were reported as progress. */
  told: number;
  /** Where each version took over, in order; one entry unless the weights changed in mid-sequence. */
  readonly starts: { readonly start: number; readonly version: PolicyVersion }[];
  readonly placedMs: number;
}

export class Batcher {
  readonly #options: BatcherOptions;
  readonly #pending = new Map<string, Pending>();
  readonly #switches: (() => Promise<PolicyVersion>)[] = [];
  readonly #barriers = new Map<string, () => Promise<PolicyVersion>>();
  /** Cancelled while a tick is under way, whose effects name slots: they end after it. */
  readonly #cancelled: string[] = [];
  readonly #sequences: (Sequence | undefined)[] = [];
  readonly #choice: Choice = { token: 0, logprob: 0 };
  readonly counts: BatcherCounts = { prefills: 0, promptTokens: 0, tokens: 0, completions: 0 };
  #state: SchedulerState;
  #version: PolicyVersion | undefined;
  #ticking = false;

  constructor(options: BatcherOptions) {
    this.#options = options;
    this.#state = createScheduler({ slots: options.slots, maxWaiting: options.maxWaiting });
  }

  /** Whether a `tick` would do anything. */
  get busy(): boolean {
    return (
      this.#switches.length > 0 ||
      this.#state.queue.length > 0 ||
      this.#state.seats.some((seat) => seat !== undefined)
    );
  }

  get scheduler(): SchedulerState {
    return this.#state;
  }

  /** Queues a request. Throws `GENERATION_FULL`, `GENERATION_DUPLICATE`, or `RANDOM_KEY` for a key that is none. */
  submit(request: GenerationRequest, onProgress?: ProgressListener): void {
    const { id, samples } = request;
    if (this.#pending.has(id))
      throw new OarlockError("GENERATION_DUPLICATE", `request ${id} is in flight already`);
    const streams = samples.map(randomStream);
    this.#apply({ type: "submit", request: id, samples: samples.length });
    const stops = new Set(request.params.stopTokens);
    const completions = samples.map(() => undefined);
    const left = samples.length;
    const times = { submittedMs: performance.now(), prefillStartMs: 0, prefillEndMs: 0 };
    this.#pending.set(id, {
      request,
      streams,
      stops,
      completions,
      onProgress,
      left,
      prefix: undefined,
      prefixVersion: NO_VERSION,
      ...times,
    });
  }

  /** Queues a change of weights: `change` runs when everything submitted before has ended. */
  barrier(id: string, change: () => Promise<PolicyVersion>): void {
    this.#barriers.set(id, change);
    this.#apply({ type: "barrier", barrier: id });
  }

  /** Queues a change of weights that takes effect before the next token of everybody. */
  switch(change: () => Promise<PolicyVersion>): void {
    this.#switches.push(change);
  }

  /** Ends a request with what it has ("abort"), at the end of a tick under way. Unknown ids are ignored: it may have ended by then. */
  cancel(id: string): void {
    if (this.#ticking) return void this.#cancelled.push(id);
    for (const effect of this.#apply({ type: "cancel", request: id })) {
      if (effect.type !== "drop") continue;
      if (effect.slot === undefined) this.#abandon(id, effect.seat.sample);
      else this.#finish(effect.slot, "abort");
    }
  }

  /** Admits, decodes one token for every occupied slot, and reports who has ended. */
  async tick(): Promise<void> {
    this.#ticking = true;
    try {
      await this.#advance();
    } finally {
      this.#ticking = false;
      for (const id of this.#cancelled.splice(0)) this.cancel(id);
    }
  }

  async #advance(): Promise<void> {
    for (let change = this.#switches.shift(); change; change = this.#switches.shift()) {
      this.#version = await change();
    }
    await this.#fill();
    const rows = this.#state.seats.length;
    if (rows === 0) return;
    const { engine, vocabulary } = this.#options;
    await engine.decode(rows);
    this.#apply({ type: "stepped" });
    const ended: number[] = [];
    for (let slot = 0; slot < rows; slot++) {
      const row = { probabilities: engine.probabilities, offset: slot * vocabulary, vocabulary };
      if (this.#draw(slot, row, this.#version ?? NO_VERSION)) ended.push(slot);
    }
    if (ended.length > 0) this.#apply({ type: "leave", slots: ended });
  }

  #apply(event: SchedulerEvent): readonly SchedulerEffect[] {
    const [state, effects] = schedule(this.#state, event);
    this.#state = state;
    return effects;
  }

  /** Seats who waits, until nobody new ended with the very first token and no barrier fell. */
  async #fill(): Promise<void> {
    for (let again = true; again;) {
      const effects = this.#apply({ type: "fill" });
      await this.#prefill(effects);
      const ended: number[] = [];
      again = false;
      for (const effect of effects) {
        if (effect.type === "place" && this.#place(effect.seat, effect.slot)) ended.push(effect.slot);
        if (effect.type === "move") this.#move(effect.from, effect.to);
        if (effect.type === "release") this.#releasePrefix(effect.request);
        if (effect.type !== "pass") continue;
        await this.#pass(effect.barrier);
        again = true;
      }
      if (ended.length === 0) continue;
      this.#apply({ type: "leave", slots: ended });
      again = true;
    }
  }

  async #pass(barrier: string): Promise<void> {
    const change = this.#barriers.get(barrier);
    this.#barriers.delete(barrier);
    if (change) this.#version = await change();
  }

  async #prefill(effects: readonly SchedulerEffect[]): Promise<void> {
    const starting = effects.flatMap((effect) =>
      effect.type === "prefill" ? (this.#pending.get(effect.request) ?? []) : [],
    );
    if (starting.length === 0) return;
    const prompts = starting.map(({ request }) => ({
      ids: request.prompt,
      inverseTemperature: inverseTemperature(request.params),
    }));
    const { engine } = this.#options;
    engine.reserve(
      Math.max(...starting.map(({ request }) => request.prompt.length + request.params.maxNewTokens)),
    );
    const prefixVersion = this.#version ?? NO_VERSION;
    const prefillStartMs = performance.now();
    const prefixes = await engine.prefill(prompts);
    const prefillEndMs = performance.now();
    starting.forEach((pending, i) =>
      Object.assign(pending, { prefix: prefixes[i], prefixVersion, prefillStartMs, prefillEndMs }),
    );
    this.counts.prefills += starting.length;
    this.counts.promptTokens += prompts.reduce((sum, { ids }) => sum + ids.length, 0);
  }

  /** Starts a sample in a slot and draws its first token. True where it ended with it. */
  #place({ request, sample }: Seat, slot: number): boolean {
    const pending = this.#pending.get(request);
    const stream = pending?.streams[sample];
    const prefix = pending?.prefix;
    if (!pending || !stream || !prefix) return true; // its request failed since the scheduler seated it
    const { engine, vocabulary } = this.#options;
    const { params } = pending.request;
    engine.place(prefix, slot);
    engine.inverseTemperatures[slot] = inverseTemperature(params);
    const tokens = new Int32Array(params.maxNewTokens);
    const logprobs = new Float32Array(params.maxNewTokens);
    const placedMs = performance.now();
    const empty = { tokens, logprobs, count: 0, told: 0, starts: [] };
    this.#sequences[slot] = { pending, index: sample, stream, ...empty, placedMs };
    const row = { probabilities: prefix.probabilities, offset: 0, vocabulary };
    return this.#draw(slot, row, pending.prefixVersion);
  }

  #move(from: number, to: number): void {
    const sequence = this.#sequences[from];
    this.#options.engine.move(from, to);
    this.#sequences[to] = sequence;
    this.#sequences[from] = undefined;
  }

  #releasePrefix(request: string): void {
    const pending = this.#pending.get(request);
    pending?.prefix?.cache.release();
    if (pending) pending.prefix = undefined;
  }

  /** Draws the next token of the sequence in `slot` from what `version` computed. True where the slot is free now. */
  #draw(slot: number, row: Row, version: PolicyVersion): boolean {
    const sequence = this.#sequences[slot];
    if (!sequence) return true;
    const { request, stops } = sequence.pending;
    // Absolute positions: a sequence that is continued as a longer prompt draws the same numbers.
    const position = request.prompt.length + sequence.count;
    try {
      choose(row, request.params, uniform(sequence.stream, position), this.#choice);
    } catch (reason) {
      this.#fail(request.id, reason);
      return true;
    }
    const { token, logprob } = this.#choice;
    this.#noteVersion(sequence, version);
    sequence.tokens[sequence.count] = token;
    sequence.logprobs[sequence.count] = logprob;
    sequence.count++;
    this.counts.tokens++;
    const { engine } = this.#options;
    engine.ids[slot] = token;
    engine.positions[slot] = position;
    if (sequence.count - sequence.told >= PROGRESS_TOKENS) this.#tell(sequence);
    if (stops.has(token)) return this.#finish(slot, "stop");
    return sequence.count === request.params.maxNewTokens && this.#finish(slot, "length");
  }

  /** A report is of one version: what older weights drew is told before the newer ones take over. */
  #noteVersion(sequence: Sequence, version: PolicyVersion): void {
    if (sequence.starts.at(-1)?.version === version) return;
    this.#tell(sequence);
    sequence.starts.push({ start: sequence.count, version });
  }

  #finish(slot: number, finishReason: FinishReason): true {
    const sequence = this.#sequences[slot];
    this.#sequences[slot] = undefined;
    if (!sequence) return true;
    this.#tell(sequence);
    const { pending, index, count } = sequence;
    const [tokens, logprobs] = [sequence.tokens.slice(0, count), sequence.logprobs.slice(0, count)];
    const timing = pending.request.timed === true ? { timing: timingOf(pending, sequence) } : {};
    const segments = segmentsOf(sequence);
    this.#settle(pending, index, { tokens, logprobs, finishReason, segments, ...timing });
    return true;
  }

  /** Reports what was drawn since the last time. */
  #tell(sequence: Sequence): void {
    const { pending, index, tokens, logprobs, count, told, starts } = sequence;
    if (!pending.onProgress || told === count) return;
    sequence.told = count;
    const sample = pending.request.samples[index]?.sample ?? index;
    const fresh = { tokens: tokens.slice(told, count), logprobs: logprobs.slice(told, count) };
    pending.onProgress({ ...fresh, sample, version: starts.at(-1)?.version ?? NO_VERSION });
  }

  /** Ends a sample that never had a slot. */
  #abandon(request: string, index: number): void {
    const pending = this.#pending.get(request);
    if (!pending) return;
    this.#settle(pending, index, {
      tokens: new Int32Array(),
      logprobs: new Float32Array(),
      finishReason: "abort",
      segments: [],
    });
  }

  #settle(
    pending: Pending,
    index: number,
    result: Pick<Completion, "tokens" | "logprobs" | "finishReason" | "segments" | "timing">,
  ): void {
    const { request, completions } = pending;
    completions[index] = {
      ...result,
      sample: request.samples[index]?.sample ?? index,
      version: result.segments.at(-1)?.version ?? this.#version ?? NO_VERSION,
    };
    pending.left--;
    this.counts.completions++;
    if (pending.left > 0) return;
    this.#releasePrefix(request.id);
    this.#pending.delete(request.id);
    this.#options.handlers.completed(
      request.id,
      completions.filter((completion) => completion !== undefined),
    );
  }

  #fail(id: string, reason: unknown): void {
    this.#releasePrefix(id);
    this.#pending.delete(id);
    for (const effect of this.#apply({ type: "cancel", request: id })) {
      if (effect.type === "drop" && effect.slot !== undefined) this.#sequences[effect.slot] = undefined;
    }
    this.#options.handlers.failed(id, reason);
  }
}

/** Which version drew which tokens. */
function segmentsOf({ starts, count }: Sequence): VersionSegment[] {
  return starts.map(({ start, version }, i) => ({ start, end: starts[i + 1]?.start ?? count, version }));
}

/** Of a sequence that ends now. */
function timingOf(pending: Pending, { placedMs }: Sequence): CompletionTiming {
  const { submittedMs, prefillStartMs, prefillEndMs } = pending;
  return {
    waitMs: prefillStartMs - submittedMs,
    prefillMs: prefillEndMs - prefillStartMs,
    slotMs: placedMs - prefillEndMs,
    decodeMs: performance.now() - placedMs,
  };
}

/** Of a request that was aborted before any weights were loaded. */
const NO_VERSION: PolicyVersion = { number: 0, digest: "" };
