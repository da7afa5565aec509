/** One worker thread as an object with promises: calls out, answers in, and everyone is told when the thread ends. */
import { Worker } from "node:worker_threads";
import { OarlockError } from "@oarlock/errors";
import {
  type CallResult,
  type FromWorker,
  fromWire,
  type ToWorker,
  type WorkerSettings,
  type WorkerStats,
} from "./protocol.ts";
import type { Completion, GenerationRequest, PolicyVersion } from "./types.ts";

export interface WorkerHandle {
  /** Samples submitted and not yet completed. */
  readonly inFlight: number;
  load(weights: Float32Array, version: PolicyVersion): Promise<void>;
  submit(request: GenerationRequest, signal?: AbortSignal): Promise<readonly Completion[]>;
  stats(): Promise<WorkerStats>;
  close(): Promise<void>;
}

interface Call {
  readonly resolve: (result: CallResult) => void;
  readonly reject: (reason: unknown) => void;
}

/** How long a worker may take to end by itself before it is terminated. */
const CLOSE_DEADLINE_MS = 5_000;

/** Starts a thread; resolves when its engine is open. */
export async function startWorker(entry: string, settings: WorkerSettings): Promise<WorkerHandle> {
  // Without execArgv of its own the thread inherits the parent's loaders, which may not be there.
  const worker = new Worker(entry, { workerData: settings, execArgv: [], name: "oarlock-generation" });
  const thread = new Thread(worker);
  await thread.ready;
  return thread;
}

class Thread implements WorkerHandle {
  readonly ready: Promise<void>;
  readonly #worker: Worker;
  readonly #calls = new Map<string, Call>();
  #next = 0;
  #ended: OarlockError | undefined;
  inFlight = 0;

  constructor(worker: Worker) {
    this.#worker = worker;
    let opened: () => void = () => undefined;
    let refused: (reason: unknown) => void = () => undefined;
    this.ready = new Promise((resolve, reject) => {
      opened = resolve;
      refused = reject;
    });
    const end = (error: OarlockError): void => {
      this.#ended ??= error;
      refused(this.#ended);
      for (const call of this.#calls.values()) call.reject(this.#ended);
      this.#calls.clear();
    };
    worker.on("message", (message: FromWorker) =>
      message.type === "ready" ? opened() : this.#answer(message),
    );
    worker.on("error", (cause) => {
      const message = `a generation worker failed: ${cause instanceof Error ? cause.message : String(cause)}`;
      end(new OarlockError("GENERATION_WORKER_FAILED", message, { cause }));
    });
    worker.on("exit", () => end(new OarlockError("GENERATION_CLOSED", "the generator was closed")));
  }

  async load(weights: Float32Array, version: PolicyVersion): Promise<void> {
    await this.#call((call) => ({ type: "load", call, weights, version }));
  }

  async submit(request: GenerationRequest, signal?: AbortSignal): Promise<readonly Completion[]> {
    const call = this.#name();
    const cancel = (): void => this.#worker.postMessage({ type: "cancel", call } satisfies ToWorker);
    signal?.addEventListener("abort", cancel, { once: true });
    this.inFlight += request.samples.length;
    try {
      const result = await this.#send({ type: "submit", call, request });
      return result.type === "completions" ? result.completions : unexpected(result);
    } finally {
      this.inFlight -= request.samples.length;
      signal?.removeEventListener("abort", cancel);
    }
  }

  async stats(): Promise<WorkerStats> {
    const result = await this.#call((call) => ({ type: "stats", call }));
    return result.type === "stats" ? result.stats : unexpected(result);
  }

  async close(): Promise<void> {
    if (this.#ended) return;
    const deadline = setTimeout(() => void this.#worker.terminate(), CLOSE_DEADLINE_MS);
    const exited = new Promise((resolve) => this.#worker.once("exit", resolve));
    this.#call((call) => ({ type: "close", call })).catch(() => undefined); // an exit rejects it, and is what we wait for
    await exited;
    clearTimeout(deadline);
  }

  #name(): string {
    return String(this.#next++);
  }

  #call(message: (call: string) => ToWorker): Promise<CallResult> {
    return this.#send(message(this.#name()));
  }

  #send(message: ToWorker): Promise<CallResult> {
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#calls.set(message.call, { resolve, reject });
      this.#worker.postMessage(message);
    });
  }

  #answer(message: Exclude<FromWorker, { type: "ready" }>): void {
    const call = this.#calls.get(message.call);
    this.#calls.delete(message.call);
    if (message.type === "failed") call?.reject(fromWire(message.error));
    else call?.resolve(message.result);
  }
}

function unexpected(result: CallResult): never {
  throw new OarlockError("GENERATION_PROTOCOL", `a worker answered with "${result.type}"`);
}
