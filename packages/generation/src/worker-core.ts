/**
 * The inside of a generation worker: an engine, a batcher, and a loop that runs while there is work and lets the thread
 * read its messages between two steps. It knows no text, no bus and no policies beyond the one that it was given.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { OarlockError } from "@oarlock/errors";
import { openOrt, type OrtRuntime } from "@oarlock/ort";
import { countShared } from "@oarlock/runtime";
import { Batcher } from "./batcher.ts";
import { DecodeEngine } from "./engine.ts";
import type { GenerationMethods, LoadRequest, WorkerSettings, WorkerStats } from "./protocol.ts";
import { activeSeats } from "./scheduler.ts";
import type { Completion, PolicyVersion, TokenProgress } from "./types.ts";

interface Waiting<T> {
  readonly resolve: (result: T) => void;
  readonly reject: (reason: unknown) => void;
}

interface Opened {
  readonly ort: OrtRuntime;
  readonly engine: DecodeEngine;
  readonly batcher: Batcher;
}

export class WorkerCore implements GenerationMethods {
  #opened: Opened | undefined;
  readonly #submissions = new Map<string, Waiting<readonly Completion[]>>();
  readonly #loads = new Map<string, Waiting<void>>();
  #nextLoad = 0;
  #running: Promise<void> | undefined;
  #closing = false;
  #failure: OarlockError | undefined;
  #busyMs = 0;

  readonly open = async (settings: WorkerSettings): Promise<void> => {
    const ort = await openOrt({ ...settings.ort, threads: settings.threads });
    const engine = new DecodeEngine({ ...settings, ort });
    const { config, slots, maxWaiting } = settings;
    const handlers = {
      completed: (id: string, completions: readonly Completion[]) =>
        take(this.#submissions, id)?.resolve(completions),
      failed: (id: string, reason: unknown) => take(this.#submissions, id)?.reject(reason),
    };
    const batcher = new Batcher({ engine, vocabulary: config.vocabSize, slots, maxWaiting, handlers });
    this.#opened = { ort, engine, batcher };
  };

  readonly load = (request: LoadRequest): Promise<void> =>
    new Promise((resolve, reject) => {
      const { batcher, engine } = this.#ready();
      const id = String(this.#nextLoad++);
      this.#loads.set(id, { resolve, reject });
      const change = async (): Promise<PolicyVersion> => {
        countShared(request.weights.byteLength);
        await engine.load(request.weights);
        take(this.#loads, id)?.resolve();
        return request.version;
      };
      if (request.inFlight) batcher.switch(change);
      else batcher.barrier(id, change);
      this.#start();
    });

  readonly submit: GenerationMethods["submit"] = ({ request, progress }) => {
    const onProgress = progress && ((tokens: TokenProgress) => progress.postMessage(tokens));
    const completions = new Promise<readonly Completion[]>((resolve, reject) => {
      this.#ready().batcher.submit(request, onProgress);
      this.#submissions.set(request.id, { resolve, reject });
      this.#start();
    });
    return completions.finally(() => progress?.close());
  };

  readonly cancel = ({ id }: { id: string }): void => this.#opened?.batcher.cancel(id);

  readonly stats = (): WorkerStats => {
    const { counts, scheduler } = this.#ready().batcher;
    const { steps, occupied, slots, waitingSamples } = scheduler;
    const parts = { decodeSteps: steps, occupiedSlotSteps: occupied, slots, waitingSamples };
    return { ...counts, ...parts, activeSamples: activeSeats(scheduler), busySeconds: this.#busyMs / 1000 };
  };

  readonly close = async (): Promise<void> => {
    this.#closing = true;
    await this.#running;
    const opened = this.#opened;
    this.#opened = undefined;
    await opened?.engine.close();
    await opened?.ort.close();
  };

  #ready(): Opened {
    if (this.#failure) throw this.#failure;
    if (!this.#opened) throw new OarlockError("GENERATION_CLOSED", "the generation worker is not open");
    return this.#opened;
  }

  #start(): void {
    this.#running ??= this.#loop().finally(() => (this.#running = undefined));
  }

  async #loop(): Promise<void> {
    const { batcher } = this.#ready();
    try {
      while (batcher.busy && !this.#closing) {
        const start = performance.now();
        await batcher.tick();
        this.#busyMs += performance.now() - start;
        await nextTurn();
      }
    } catch (reason) {
      this.#fail(reason);
    }
  }

  /** The engine's own failure ends everything, now and later: its weights and caches cannot be trusted any more. */
  #fail(cause: unknown): void {
    const message = `the engine failed: ${cause instanceof Error ? cause.message : String(cause)}`;
    const failure = new OarlockError("GENERATION_FAILED", message, { cause });
    this.#failure = failure;
    this.#closing = true;
    for (const waiting of [...this.#submissions.values(), ...this.#loads.values()]) waiting.reject(failure);
    this.#submissions.clear();
    this.#loads.clear();
  }
}

function take<T>(waiting: Map<string, T>, id: string): T | undefined {
  const found = waiting.get(id);
  waiting.delete(id);
  return found;
}
