/**
 * Requests to the binding driver's worker, awaited or blocking. A blocking request waits on a counter in shared memory
 * that the worker raises after each reply, then reads the replies itself.
 */
import { createRequire } from "node:module";
import { MessageChannel, receiveMessageOnPort, Worker } from "node:worker_threads";
import { OarlockError } from "@oarlock/errors";
import type {
  BindingReply,
  BindingRequest,
  BindingWorkerData,
  ReplyEnvelope,
  RequestEnvelope,
} from "./protocol.ts";

type Success = Exclude<BindingReply, { type: "failed" }>;

export interface BindingWorker {
  ask(request: BindingRequest, transfer: readonly ArrayBuffer[]): Promise<Success>;
  askSync(request: BindingRequest, transfer: readonly ArrayBuffer[]): Success;
  close(): Promise<void>;
}

const STALLED_MS = 1000;

function succeeded(reply: BindingReply): Success {
  if (reply.type === "failed") throw new OarlockError(reply.code, reply.message);
  return reply;
}

interface Waiter {
  readonly settle: (reply: BindingReply) => void;
  readonly fail: (error: unknown) => void;
}

export function startBindingWorker(): BindingWorker {
  const replies = new SharedArrayBuffer(4);
  const replyCount = new Int32Array(replies);
  const { port1: port, port2 } = new MessageChannel();
  const data: BindingWorkerData = { port: port2, replies };
  // Always the built file, without the parent's loader flags (a source condition would lead it to TypeScript).
  const entry = createRequire(import.meta.url).resolve("@oarlock/ort/worker");
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
      let seen = Atomics.load(replyCount, 0);
      send(request, transfer, { settle: (reply) => void (mine = reply), fail: () => undefined });
      for (;;) {
        drain();
        if (mine !== undefined) return succeeded(mine);
        Atomics.wait(replyCount, 0, seen, STALLED_MS);
        seen = Atomics.load(replyCount, 0);
      }
    },
    async close() {
      end(new OarlockError("ORT_RELEASED", "the runtime was closed"));
      await worker.terminate();
    },
  };
}
