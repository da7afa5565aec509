/**
 * The inside of a generation worker: an engine, a batcher, and a loop that runs while there is work and lets the thread
 * read its messages between two steps. It knows no text, no bus and no policies beyond the one that it was given.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { OarlockError } from "@oarlock/errors";
import { openOrt, type OrtRuntime } from "@oarlock/ort";
import { Batcher } from "./batcher.ts";
import { DecodeEngine } from "./engine.ts";
import type { GenerationMethods, WorkerSettings, WorkerStats } from "./protocol.ts";
import { activeSeats } from "./scheduler.ts";
import type { Completion, PolicyVersion, TokenProgress } from "./types.ts";

interface Waiting<T> {
  readonly resolve: (result: T) => void;
  readonly reject: (reason: unknown) => void;
}

export class WorkerCore implements GenerationMethods {
  #opened: { ort: OrtRuntime; engine: DecodeEngine; batcher: Batcher } | undefined;
  readonly #submissions = new Map<string, Waiting<readonly Completion[]>>();
  #loads = 0;
  #running: Promise<void> | undefined;
  #closing = false;
  #busyMs = 0;

  readonly open = async (settings: WorkerSettings): Promise<void> => {
    const ort = await openOrt({ ...settings.ort, threads: settings.threads });
    const engine = new DecodeEngine({ ...settings, ort });
    const { config, slots, maxWaiting } = settings;
    const handlers = {
      completed: (id: string, completions: readonly Completion[]) => this.#take(id)?.resolve(completions),
      failed: (id: string, reason: unknown) => this.#take(id)?.reject(reason),
    };
    const batcher = new Batcher({ engine, vocabulary: config.vocabSize, slots, maxWaiting, handlers });
    this.#opened = { ort, engine, batcher };
  };

  readonly load = (request: { weights: Float32Array; version: PolicyVersion }): Promise<void> => {
    const { batcher, engine } = this.#ready();
    return new Promise((resolve, reject) => {
      batcher.barrier(String(this.#loads++), async () => {
        try {
          await engine.load(request.weights);
          resolve();
        } catch (reason) {
          reject(reason);
          throw reason;
        }
        return request.version;
      });
      this.#start();
    });
  };

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

  #ready(): { ort: OrtRuntime; engine: DecodeEngine; batcher: Batcher } {
    if (!this.#opened) throw new OarlockError("GENERATION_CLOSED", "the generation worker is not open");
    return this.#opened;
  }

  #take(id: string): Waiting<readonly Completion[]> | undefined {
    const waiting = this.#submissions.get(id);
    this.#submissions.delete(id);
    return waiting;
  }

  #start(): void {
    this.#running ??= this.#loop().finally(() => (this.#running = undefined));
  }

  /** The engine's own failure ends everything that is in flight: its caches cannot be trusted any more. */
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
      this.#closing = true;
      this.#opened = undefined;
      for (const { reject } of this.#submissions.values()) reject(reason);
      this.#submissions.clear();
    }
  }
}
