/**
 * The worker thread of the binding driver: owns onnxruntime-node's sessions and answers one request after another.
 * onnxruntime-node computes on the thread that calls it; here that thread is nobody's event loop.
 */
import { workerData } from "node:worker_threads";
import { isOarlockError, OarlockError } from "@oarlock/errors";
import { type DType, DTYPES, type TypedArray } from "@oarlock/tensor";
import * as ort from "onnxruntime-node";
import type { OrtValueInfo } from "../types.ts";
import {
  type BindingReply,
  type BindingRequest,
  type BindingWorkerData,
  ENDED,
  REPLIES,
  type ReplyEnvelope,
  type RequestEnvelope,
  type WireTensor,
} from "./protocol.ts";

// The driver that starts this worker passes exactly this.
const { port, ...shared } = workerData as BindingWorkerData;
const progress = new Int32Array(shared.progress);
const sessions = new Map<number, ort.InferenceSession>();
let nextSession = 1;

function ortTensor(tensor: WireTensor): ort.Tensor {
  if (tensor.dtype === "bfloat16") {
    throw new OarlockError(
      "ORT_UNSUPPORTED_DTYPE",
      `'${tensor.name}': onnxruntime-node has no bfloat16 tensors; use the native driver`,
    );
  }
  // The pairs of element type and array are the same in both libraries; Tensor's overloads cannot say so.
  return new ort.Tensor(tensor.dtype, tensor.data as never, [...tensor.shape]);
}

function valueInfo(meta: ort.InferenceSession.ValueMetadata): OrtValueInfo {
  const dtype = meta.isTensor ? DTYPES.find((known) => known === meta.type) : undefined;
  if (!meta.isTensor || dtype === undefined) {
    throw new OarlockError("ORT_UNSUPPORTED_DTYPE", `'${meta.name}' is not a tensor of ${DTYPES.join(", ")}`);
  }
  return {
    name: meta.name,
    dtype,
    shape: meta.shape.map((dim) => (typeof dim === "number" ? (dim >= 0 ? dim : null) : dim || null)),
  };
}

/** `{"a.b.c": v}` as the nested object that onnxruntime-node turns back into `a.b.c`. */
function nested(entries: Readonly<Record<string, string>>): Record<string, unknown> {
  const root: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(entries)) {
    const path = key.split(".");
    const last = path.pop() ?? key;
    let at = root;
    for (const part of path) at = (at[part] ??= {}) as Record<string, unknown>; // made by this loop
    at[last] = value;
  }
  return root;
}

async function create(request: Extract<BindingRequest, { type: "create" }>): Promise<BindingReply> {
  const session = await ort.InferenceSession.create(request.model, {
    executionProviders: [request.provider],
    intraOpNumThreads: request.threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: request.optimization,
    logSeverityLevel: 4,
    externalData: request.initializers.map(({ name, data }) => ({
      path: name,
      data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    })),
    extra: nested(request.entries),
  });
  const id = nextSession++;
  sessions.set(id, session);
  return {
    type: "created",
    session: id,
    inputs: session.inputMetadata.map(valueInfo),
    outputs: session.outputMetadata.map(valueInfo),
  };
}

async function run(request: Extract<BindingRequest, { type: "run" }>): Promise<BindingReply> {
  const session = sessions.get(request.session);
  if (session === undefined) throw new OarlockError("ORT_RELEASED", "session was released");
  const feeds = Object.fromEntries(request.feeds.map((tensor) => [tensor.name, ortTensor(tensor)]));
  const results = await session.run(feeds, [...request.fetches]);
  const outputs = request.fetches.map((name) => {
    const result = results[name];
    if (result === undefined) throw new OarlockError("ORT_CALL_FAILED", `no result '${name}'`);
    return { name, data: result.data as TypedArray }; // DType's arrays only: checked at creation
  });
  return { type: "ran", outputs };
}

async function close(request: Extract<BindingRequest, { type: "close" }>): Promise<BindingReply> {
  await sessions.get(request.session)?.release();
  sessions.delete(request.session);
  return { type: "closed" };
}

function answer(request: BindingRequest): Promise<BindingReply> {
  if (request.type === "create") return create(request);
  return request.type === "run" ? run(request) : close(request);
}

const failure = (error: unknown): BindingReply => ({
  type: "failed",
  code: isOarlockError(error) && "code" in error ? String(error.code) : "ORT_CALL_FAILED",
  message: error instanceof Error ? error.message : String(error),
});

const wake = (): void => {
  Atomics.add(progress, REPLIES, 1);
  Atomics.notify(progress, REPLIES);
};

process.once("exit", () => {
  Atomics.store(progress, ENDED, 1);
  wake();
});

let last: Promise<void> = Promise.resolve();
port.on("message", ({ id, request }: RequestEnvelope) => {
  last = last.then(async () => {
    const reply = await answer(request).catch(failure);
    const envelope: ReplyEnvelope = { id, reply };
    port.postMessage(
      envelope,
      reply.type === "ran" ? [...new Set(reply.outputs.map(({ data }) => data.buffer as ArrayBuffer))] : [],
    );
    wake();
  });
});

/** Element types this driver takes. */
export type BindingDType = Exclude<DType, "bfloat16">;
