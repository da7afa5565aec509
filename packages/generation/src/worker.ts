/**
 * The thread that generates (P1): an engine, a batcher, and a loop that runs while there is work and reads messages
 * between two steps. It knows no text, no bus and no policies beyond the one that it was given.
 */
import { parentPort, workerData } from "node:worker_threads";
import { setImmediate as nextTurn } from "node:timers/promises";
import { OarlockError } from "@oarlock/errors";
import { openOrt, type OrtRuntime } from "@oarlock/ort";
import { Batcher } from "./batcher.ts";
import { DecodeEngine } from "./engine.ts";
import {
  type CallResult,
  type FromWorker,
  type ToWorker,
  toWire,
  type WorkerSettings,
  type WorkerStats,
} from "./protocol.ts";
import { activeSeats } from "./scheduler.ts";

type Message<T extends ToWorker["type"]> = Extract<ToWorker, { type: T }>;

class GenerationWorker {
  readonly #ort: OrtRuntime;
  readonly #engine: DecodeEngine;
  readonly #batcher: Batcher;
  readonly #post: (message: FromWorker, transfer?: ArrayBuffer[]) => void;
  #running: Promise<void> | undefined;
  #closing = false;
  #busyMs = 0;

  constructor(
    settings: WorkerSettings,
    ort: OrtRuntime,
    post: (message: FromWorker, transfer?: ArrayBuffer[]) => void,
  ) {
    this.#ort = ort;
    this.#post = post;
    this.#engine = new DecodeEngine({ ...settings, ort });
    this.#batcher = new Batcher({
      engine: this.#engine,
      vocabulary: settings.config.vocabSize,
      slots: settings.slots,
      maxWaiting: settings.maxWaiting,
      handlers: {
        completed: (call, completions) => {
          // Both arrays of a completion were made for it alone.
          const buffers = completions.flatMap(({ tokens, logprobs }) => [tokens.buffer, logprobs.buffer]);
          const transfer = buffers.filter((buffer) => buffer instanceof ArrayBuffer);
          this.#post({ type: "done", call, result: { type: "completions", completions } }, transfer);
        },
        failed: (call, reason) => this.#post({ type: "failed", call, error: toWire(reason) }),
      },
    });
  }

  readonly #handlers: { readonly [T in ToWorker["type"]]: (message: Message<T>) => void } = {
    load: ({ call, weights, version }) => {
      this.#batcher.barrier(call, async () => {
        await this.#engine.load(weights);
        this.#done(call, { type: "loaded" });
        return version;
      });
      this.#start();
    },
    submit: ({ call, request }) => {
      this.#batcher.submit({ ...request, id: call });
      this.#start();
    },
    cancel: ({ call }) => this.#batcher.cancel(call),
    stats: ({ call }) => this.#done(call, { type: "stats", stats: this.#stats() }),
    close: ({ call }) => void this.#close(call),
  };

  receive(message: ToWorker): void {
    try {
      // The table is typed per message; TypeScript cannot see that the handler picked by `type` takes this one.
      (this.#handlers[message.type] as (message: ToWorker) => void)(message);
    } catch (reason) {
      this.#post({ type: "failed", call: message.call, error: toWire(reason) });
    }
  }

  #done(call: string, result: CallResult): void {
    this.#post({ type: "done", call, result });
  }

  #start(): void {
    this.#running ??= this.#loop().finally(() => (this.#running = undefined));
  }

  /** A failure in here is the engine's: the thread ends with it, and the generator tells everyone who waits. */
  async #loop(): Promise<void> {
    while (this.#batcher.busy && !this.#closing) {
      const start = performance.now();
      await this.#batcher.tick();
      this.#busyMs += performance.now() - start;
      await nextTurn();
    }
  }

  #stats(): WorkerStats {
    const { steps, occupied, slots, waitingSamples } = this.#batcher.scheduler;
    const active = activeSeats(this.#batcher.scheduler);
    const busySeconds = this.#busyMs / 1000;
    return {
      ...this.#batcher.counts,
      decodeSteps: steps,
      occupiedSlotSteps: occupied,
      slots,
      waitingSamples,
      activeSamples: active,
      busySeconds,
    };
  }

  async #close(call: string): Promise<void> {
    this.#closing = true;
    await this.#running;
    await this.#engine.close();
    await this.#ort.close();
    this.#done(call, { type: "closed" });
    parentPort?.close();
  }
}

if (!parentPort)
  throw new OarlockError("GENERATION_NOT_A_WORKER", "this module runs in a worker thread only");
const port = parentPort;
const settings = workerData as WorkerSettings; // given by generator.ts, of this same package and version
const ort = await openOrt({ ...settings.ort, threads: settings.threads });
const worker = new GenerationWorker(settings, ort, (message, transfer = []) =>
  port.postMessage(message, transfer),
);
port.on("message", (message: ToWorker) => worker.receive(message));
port.postMessage({ type: "ready" } satisfies FromWorker);
