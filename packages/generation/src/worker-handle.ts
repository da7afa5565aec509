/** One worker thread, with the count of samples that it was given and has not finished. */
import { createRequire } from "node:module";
import { MessageChannel, type MessagePort } from "node:worker_threads";
import { ENGINE_CALL_TIMEOUT_MS, type EngineWorker, openEngineWorker } from "@oarlock/runtime";
import type { GenerationMethods, LoadRequest, WorkerSettings, WorkerStats } from "./protocol.ts";
import type { Completion, GenerationRequest, ProgressListener } from "./types.ts";

/** L1: the longest that a call may take before its caller is told. Long answers of large models take minutes on a CPU. */
const CALL_TIMEOUT_MS = 60 * 60_000;
const SMALL = { timeoutMs: ENGINE_CALL_TIMEOUT_MS };

export class WorkerHandle {
  readonly #worker: EngineWorker<GenerationMethods>;
  #nextId = 0;
  #inFlight = 0;

  private constructor(worker: EngineWorker<GenerationMethods>) {
    this.#worker = worker;
  }

  /** Starts a thread; resolves when its engine is open. */
  static async start(settings: WorkerSettings): Promise<WorkerHandle> {
    const entry = createRequire(import.meta.url).resolve("@oarlock/generation/worker");
    return new WorkerHandle(await openEngineWorker({ name: "generation worker", entry, settings }));
  }

  /** Samples submitted and not yet completed. */
  get inFlight(): number {
    return this.#inFlight;
  }

  load(request: LoadRequest): Promise<void> {
    return this.#worker.client.call("load", request, { timeoutMs: CALL_TIMEOUT_MS });
  }

  /** When aborted it still resolves: with what was drawn. */
  async submit(
    request: GenerationRequest,
    signal?: AbortSignal,
    onProgress?: ProgressListener,
  ): Promise<readonly Completion[]> {
    const id = String(this.#nextId++);
    const cancel = (): void => void this.#worker.client.call("cancel", { id }, SMALL).catch(() => undefined); // the call itself reports
    signal?.addEventListener("abort", cancel, { once: true });
    this.#inFlight += request.samples.length;
    const progress = onProgress && progressPort(onProgress);
    try {
      const call = { request: { ...request, id }, ...(progress && { progress: progress.port }) };
      const transfer = progress ? [progress.port] : [];
      const completions = await this.#worker.client.call("submit", call, {
        timeoutMs: CALL_TIMEOUT_MS,
        transfer,
      });
      await progress?.ended;
      return completions;
    } finally {
      progress?.close();
      this.#inFlight -= request.samples.length;
      signal?.removeEventListener("abort", cancel);
    }
  }

  stats(): Promise<WorkerStats> {
    return this.#worker.client.call("stats", undefined, SMALL);
  }

  close(): Promise<void> {
    return this.#worker.close();
  }
}

interface Progress {
  /** The worker's end. */
  readonly port: MessagePort;
  /** Resolves when the worker has closed its end and all reports were heard. */
  readonly ended: Promise<void>;
  close(): void;
}

function progressPort(onProgress: ProgressListener): Progress {
  const { port1, port2 } = new MessageChannel();
  port1.on("message", onProgress);
  const ended = new Promise<void>((resolve) => port1.once("close", resolve));
  return { port: port2, ended, close: () => port1.close() };
}
