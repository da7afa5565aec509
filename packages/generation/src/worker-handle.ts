/** One worker thread, with the count of samples that it was given and has not finished. */
import { createRequire } from "node:module";
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { WorkerClient } from "@oarlock/runtime";
import type { GenerationMethods, LoadRequest, WorkerSettings, WorkerStats } from "./protocol.ts";
import type { Completion, GenerationRequest, ProgressListener } from "./types.ts";

/** L1: the longest that a call may take before its caller is told. Long answers of large models take minutes on a CPU. */
const CALL_TIMEOUT_MS = 60 * 60_000;
const SMALL_CALL_TIMEOUT_MS = 10 * 60_000;
const SMALL = { timeoutMs: SMALL_CALL_TIMEOUT_MS };

export class WorkerHandle {
  readonly #client: WorkerClient<GenerationMethods>;
  #nextId = 0;
  #inFlight = 0;

  private constructor(client: WorkerClient<GenerationMethods>) {
    this.#client = client;
  }

  /** Starts a thread; resolves when its engine is open. */
  static async start(settings: WorkerSettings): Promise<WorkerHandle> {
    const client = new WorkerClient<GenerationMethods>({
      name: "generation worker",
      // Resolved by `require`, which ignores the source condition: always the built file, without the parent's loaders.
      start: () =>
        new Worker(createRequire(import.meta.url).resolve("@oarlock/generation/worker"), { execArgv: [] }),
    });
    try {
      await client.call("open", settings, SMALL);
    } catch (error) {
      await client.close();
      throw error;
    }
    return new WorkerHandle(client);
  }

  /** Samples submitted and not yet completed. */
  get inFlight(): number {
    return this.#inFlight;
  }

  load(request: LoadRequest): Promise<void> {
    return this.#client.call("load", request, { timeoutMs: CALL_TIMEOUT_MS });
  }

  /** When aborted it still resolves: with what was drawn. */
  async submit(
    request: GenerationRequest,
    signal?: AbortSignal,
    onProgress?: ProgressListener,
  ): Promise<readonly Completion[]> {
    const id = String(this.#nextId++);
    const cancel = (): void => void this.#client.call("cancel", { id }, SMALL).catch(() => undefined); // the call itself reports
    signal?.addEventListener("abort", cancel, { once: true });
    this.#inFlight += request.samples.length;
    const progress = onProgress && progressPort(onProgress);
    try {
      const call = { request: { ...request, id }, ...(progress && { progress: progress.port }) };
      const transfer = progress ? [progress.port] : [];
      const completions = await this.#client.call("submit", call, { timeoutMs: CALL_TIMEOUT_MS, transfer });
      await progress?.ended;
      return completions;
    } finally {
      progress?.close();
      this.#inFlight -= request.samples.length;
      signal?.removeEventListener("abort", cancel);
    }
  }

  stats(): Promise<WorkerStats> {
    return this.#client.call("stats", undefined, SMALL);
  }

  async close(): Promise<void> {
    await this.#client.call("close", undefined, SMALL).catch(() => undefined); // the thread may be gone already
    await this.#client.close();
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
