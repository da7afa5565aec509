/**
 * Requests and responses over a worker thread (P1): methods by name, buffers moved instead of copied, errors that keep
 * their code, and a client that can kill its worker and start another. It does not know what the methods do.
 */
import type { Transferable as NodeTransferable, Worker } from "node:worker_threads";
import { OarlockError } from "@oarlock/errors";
import { processWaits, waitFor, type WaitRegistry } from "./deadline.ts";
import { decodeError, type EncodedError } from "./error-codec.ts";

/** What moves without a copy: ArrayBuffers and ports. */
export type TransferList = readonly NodeTransferable[];

/** Method names to functions of one argument; `undefined` for none. */
export type WorkerMethods<T> = { readonly [K in keyof T]: (request: never) => unknown };

/** The argument of a method. */
export type Request<M> = M extends (request: infer R, ...rest: never[]) => unknown ? R : never;
type Response<M> = M extends (...args: never[]) => infer R ? Awaited<R> : never;

/** Options of one call. */
export interface WorkerCallOptions {
  /** L1: no default, a caller knows how long its work may take. */
  readonly timeoutMs: number;
  readonly transfer?: TransferList;
  readonly signal?: AbortSignal;
}

/** Posted by the client. @internal */
export interface WorkerRequest {
  readonly id: number;
  readonly method: string;
  readonly request: unknown;
}

/** Posted by the worker. @internal */
export type WorkerReply =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: EncodedError };

/** How to start workers, and what they are called. */
export interface WorkerClientOptions {
  /** For error messages and waits. */
  readonly name: string;
  /** Starts a worker whose entry calls `serveWorker`. */
  readonly start: () => Worker;
  readonly registry?: WaitRegistry;
}

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (reason: Error) => void;
}

/** A worker thread seen as an object with asynchronous methods. */
export class WorkerClient<T extends WorkerMethods<T>> implements AsyncDisposable {
  readonly #options: WorkerClientOptions;
  readonly #pending = new Map<number, Pending>();
  #worker: Worker | undefined;
  #nextId = 1;
  #closed = false;

  constructor(options: WorkerClientOptions) {
    this.#options = options;
  }

  /** Calls that have no answer yet. */
  get inFlight(): number {
    return this.#pending.size;
  }

  /**
   * Calls a method; starts the worker if none is alive.
   *
   * @throws the worker's OarlockError with its code; `WORKER_DIED` (retryable) when the thread ends first;
   * `DEADLINE_EXCEEDED`: the worker is not killed by it, `terminate` does that.
   */
  call<K extends keyof T & string>(
    method: K,
    request: Request<T[K]>,
    options: WorkerCallOptions,
  ): Promise<Response<T[K]>> {
    if (this.#closed)
      return Promise.reject(new OarlockError("WORKER_CLOSED", `${this.#options.name} is closed`));
    const id = this.#nextId++;
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      const worker = (this.#worker ??= this.#start());
      const message: WorkerRequest = { id, method, request };
      worker.postMessage(message, options.transfer === undefined ? [] : [...options.transfer]);
      worker.ref();
    });
    const { timeoutMs, signal } = options;
    const wait = {
      timeoutMs,
      registry: this.#options.registry ?? processWaits,
      ...(signal === undefined ? {} : { signal }),
    };
    return waitFor(`${method} of ${this.#options.name}`, answer, wait).finally(() => {
      this.#pending.delete(id);
      if (this.#pending.size === 0) this.#worker?.unref();
      // The worker answers with what its method returns: the type that `T` states for it.
    }) as Promise<Response<T[K]>>;
  }

  /** Kills the thread in whatever it does; calls in flight fail with `WORKER_DIED`. The next call starts a new one. */
  async terminate(why = "terminated"): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    this.#failAll(why);
    await worker?.terminate();
  }

  /** Terminates for good. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.terminate("closed");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #start(): Worker {
    const worker = this.#options.start();
    const lost = (why: string): void => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      this.#failAll(why);
    };
    worker.on("message", (reply: WorkerReply) => {
      const pending = this.#pending.get(reply.id);
      if (pending === undefined) return; // gave up waiting
      if ("error" in reply) pending.reject(decodeError(reply.error));
      else pending.resolve(reply.result);
    });
    worker.on("messageerror", (reason) => lost(`unreadable message: ${reason.message}`));
    worker.on("error", (reason) => lost(reason instanceof Error ? reason.message : String(reason)));
    worker.on("exit", (code) => lost(`exit code ${code}`));
    worker.unref();
    return worker;
  }

  #failAll(why: string): void {
    const error = new OarlockError("WORKER_DIED", `${this.#options.name}: ${why}`, { retryable: true });
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }
}
