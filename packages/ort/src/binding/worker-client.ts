/**
 * Requests to the binding driver's worker, awaited or blocking. A blocking request waits on a counter in shared memory
 * that the worker raises after each reply, then reads the replies itself. No event reaches a thread that blocks: that the
 * worker has ended stands in shared memory too.
 */
import { createRequire } from "node:module";
import { MessageChannel, receiveMessageOnPort, Worker } from "node:worker_threads";
import { OarlockError } from "@oarlock/errors";
import {
  type BindingReply,
  type BindingRequest,
  type BindingWorkerData,
  ENDED,
  REPLIES,
  type ReplyEnvelope,
  type RequestEnvelope,
} from "./protocol.ts";

type Success = Exclude<BindingReply, { type: "failed" }>;

export interface BindingWorker {
  ask(request: BindingRequest, transfer: readonly ArrayBuffer[]): Promise<Success>;
  askSync(request: BindingRequest, transfer: readonly ArrayBuffer[]): Success;
  close(): Promise<void>;
}

/** L1: the longest that a blocking request may take, as long as the longest call of a thread that makes one. */
const BLOCKING_TIMEOUT_MS = 60 * 60_000;
const STALLED_MS = 1000;

function succeeded(reply: BindingReply): Success {
  if (reply.type === "failed") throw new OarlockError(reply.code, reply.message);
  return reply;
}

interface Waiter {
  readonly settle: (reply: BindingReply) => void;
  readonly fail: (error: unknown) => void;
}

/** Always the built file, without the parent's loader flags (a source condition would lead it to TypeScript). */
const builtEntry = (): string => createRequire(import.meta.url).resolve("@oarlock/ort/worker");

/** Another `entry` is for tests. */
export function startBindingWorker(entry: string | URL = builtEntry()): BindingWorker {
  const progress = new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT));
  const { port1: port, port2 } = new MessageChannel();
  const data: BindingWorkerData = { port: port2, progress: progress.buffer };
  const worker = new Worker(entry, { workerData: data, transferList: [port2], execArgv: [] });
  const waiting = new Map<number, Waiter>();
  let nextId = 1;
  let ended: OarlockError | undefined;

  const end = (error: OarlockError): void => {
    ended ??= error;
    for (const waiter of waiting.values()) waiter.fail(ended);
    waiting.clear();
    port.close();
  };
  worker.on("error", (cause) =>
    end(new OarlockError("ORT_WORKER_DIED", "the binding driver's worker failed", { cause })),
  );
  worker.on("exit", () => end(new OarlockError("ORT_RELEASED", "the runtime was closed")));
  const receive = ({ id, reply }: ReplyEnvelope): void => {
    const waiter = waiting.get(id);
    waiting.delete(id);
    waiter?.settle(reply);
    if (waiting.size === 0) port.unref();
  };
  port.on("message", receive);
  port.unref();
  worker.unref();

  const send = (request: BindingRequest, transfer: readonly ArrayBuffer[], waiter: Waiter): void => {
    if (ended !== undefined) throw ended;
    const envelope: RequestEnvelope = { id: nextId++, request };
    waiting.set(envelope.id, waiter);
    port.ref();
    port.postMessage(envelope, [...transfer]);
  };
  const drain = (): void => {
    for (let got = receiveMessageOnPort(port); got !== undefined; got = receiveMessageOnPort(port))
      receive(got.message);
  };
  return {
    ask: async (request, transfer) =>
      succeeded(await new Promise<BindingReply>((settle, fail) => send(request, transfer, { settle, fail }))),
    askSync(request, transfer) {
      let mine: BindingReply | undefined;
      const deadlineMs = performance.now() + BLOCKING_TIMEOUT_MS;
      send(request, transfer, { settle: (reply) => void (mine = reply), fail: () => undefined });
      while (performance.now() < deadlineMs) {
        const seen = Atomics.load(progress, REPLIES);
        const hasEnded = Atomics.load(progress, ENDED) === 1;
        drain();
        if (mine !== undefined) return succeeded(mine);
        if (hasEnded) throw new OarlockError("ORT_WORKER_DIED", "the binding driver's worker ended in a run");
        Atomics.wait(progress, REPLIES, seen, STALLED_MS);
      }
      throw new OarlockError(
        "DEADLINE_EXCEEDED",
        `waited ${BLOCKING_TIMEOUT_MS} ms for a run of the binding driver's worker`,
      );
    },
    async close() {
      end(new OarlockError("ORT_RELEASED", "the runtime was closed"));
      await worker.terminate();
    },
  };
}
