/** The worker's side of `worker-client.ts`: answers calls by method name. It does not know who calls. */
import { parentPort, type Transferable as NodeTransferable } from "node:worker_threads";
import { OarlockError } from "@oarlock/errors";
import { encodeError } from "./error-codec.ts";
import type { TransferList, WorkerMethods, WorkerReply, WorkerRequest } from "./worker-client.ts";

const transfers = new WeakMap<object, TransferList>();

/** Marks buffers of a result to be moved to the caller instead of copied. */
export function withTransfer<T extends object>(result: T, transfer: TransferList): T {
  transfers.set(result, transfer);
  return result;
}

/** Serves `methods` on this worker's parent port until the thread ends. Calls are started in order and may overlap. */
export function serveWorker<T extends WorkerMethods<T>>(methods: T): void {
  const port = parentPort;
  if (port === null) throw new OarlockError("NOT_A_WORKER", "serveWorker outside a worker thread");
  const post = (reply: WorkerReply, transfer: readonly NodeTransferable[] = []): void =>
    port.postMessage(reply, [...transfer]);
  const answer = async ({ id, method, request }: WorkerRequest): Promise<void> => {
    try {
      if (!Object.hasOwn(methods, method))
        throw new OarlockError("WORKER_METHOD_UNKNOWN", `worker method ${JSON.stringify(method)}`);
      // The client's types admit only names of T, each with the request that its method takes.
      const result = await methods[method as keyof T](request as never);
      const transfer = typeof result === "object" && result !== null ? transfers.get(result) : undefined;
      post({ id, result }, transfer);
    } catch (reason) {
      post({ id, error: encodeError(reason) });
    }
  };
  port.on("message", (message: WorkerRequest) => void answer(message));
}
