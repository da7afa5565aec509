/**
 * The binding driver: onnxruntime-node's own API in a worker thread. Portable and slower (inputs and outputs are copied
 * at every call): the fallback where the native driver does not load, and the oracle it is compared with.
 */
import { createRequire } from "node:module";
import { OarlockError } from "@oarlock/errors";
import { bytesPerElement, createTypedArray, type DType, type TypedArray } from "@oarlock/tensor";
import {
  byteLengthOf,
  bytesOf,
  checkAlive,
  checkBinding,
  checkData,
  copyOnHost,
  copyPairs,
  viewLength,
} from "../check.ts";
import { instructionSet, platformName } from "../fingerprint.ts";
import type {
  EngineFingerprint,
  OpenOrtOptions,
  OrtBinding,
  OrtRuntime,
  OrtSession,
  OrtTensor,
  SessionOptions,
} from "../types.ts";
import type { BindingReply, BindingRequest, WireTensor } from "./protocol.ts";
import { startBindingWorker, type BindingWorker } from "./worker-client.ts";

type Tensors = Readonly<Record<string, OrtTensor>>;

function createTensor(dtype: DType, shape: readonly number[], data?: TypedArray): OrtTensor {
  const byteLength = byteLengthOf(dtype, shape);
  const array = data ?? createTypedArray(dtype, byteLength / bytesPerElement(dtype));
  checkData(dtype, shape, array);
  let disposed = false;
  return {
    dtype,
    shape: [...shape],
    byteLength,
    location: "host",
    data: array,
    get disposed() {
      return disposed;
    },
    dispose: () => void (disposed = true),
  };
}

/** A copy of the tensors' elements in buffers of their own, and these buffers, to be transferred. */
function pack(tensors: Tensors): { wire: WireTensor[]; transfer: ArrayBuffer[] } {
  const wire = Object.entries(tensors).map(([name, { dtype, shape, data }]) => {
    const copy = createTypedArray(dtype, data.length);
    bytesOf(copy).set(bytesOf(data));
    return { name, dtype, shape, data: copy };
  });
  return { wire, transfer: wire.map(({ data }) => data.buffer as ArrayBuffer) }; // createTypedArray's own default buffer
}

interface ManagedBinding extends OrtBinding {
  readonly owner: object;
  begin(): () => void;
}

function createManagedBinding(
  owner: Pick<OrtSession, "inputs" | "outputs">,
  inputs: Tensors,
  outputs: Tensors,
): ManagedBinding {
  checkBinding(owner, inputs, outputs);
  const named = [...Object.entries(inputs), ...Object.entries(outputs)];
  let disposed = false;
  let running = false;
  return {
    owner,
    inputs,
    outputs,
    begin() {
      if (disposed) throw new OarlockError("ORT_RELEASED", "the binding was released");
      if (running)
        throw new OarlockError("ORT_BINDING_BUSY", "the binding is running; its outputs are being written");
      for (const [name, tensor] of named) checkAlive(tensor, name);
      running = true;
      return () => void (running = false);
    },
    dispose: () => void (disposed = true),
  };
}

function writeOutputs(outputs: Tensors, reply: BindingReply): void {
  if (reply.type !== "ran")
    throw new OarlockError("ORT_CALL_FAILED", `the worker answered '${reply.type}' to a run`);
  for (const { name, data } of reply.outputs) {
    const target = outputs[name];
    if (target === undefined || target.byteLength !== data.byteLength) {
      throw new OarlockError(
        "ORT_SHAPE_MISMATCH",
        `output '${name}': the result has ${data.byteLength} bytes, the tensor ${target?.byteLength ?? 0}`,
      );
    }
    bytesOf(target.data).set(bytesOf(data));
  }
}

function openSession(worker: BindingWorker, created: Extract<BindingReply, { type: "created" }>): OrtSession {
  const infos = { inputs: created.inputs, outputs: created.outputs };
  const running = new Set<Promise<unknown>>();
  let closed = false;
  const start = (
    binding: OrtBinding,
  ): { end: () => void; request: BindingRequest; transfer: ArrayBuffer[] } => {
    if (closed) throw new OarlockError("ORT_RELEASED", "session was released");
    if (!("owner" in binding) || binding.owner !== infos) {
      throw new OarlockError("ORT_FOREIGN_BINDING", "the binding was made by another session");
    }
    const end = (binding as ManagedBinding).begin(); // made by `bind` below
    const { wire, transfer } = pack(binding.inputs);
    return {
      end,
      transfer,
      request: { type: "run", session: created.session, feeds: wire, fetches: Object.keys(binding.outputs) },
    };
  };
  return {
    ...infos,
    bind: (inputs, outputs) => createManagedBinding(infos, inputs, outputs),
    async run(binding, signal) {
      if (signal?.aborted)
        throw new OarlockError("ORT_RUN_ABORTED", "the run was stopped before it started", {
          cause: signal.reason,
        });
      const { end, request, transfer } = start(binding);
      const call = worker.ask(request, transfer);
      running.add(call);
      try {
        writeOutputs(binding.outputs, await call);
      } finally {
        running.delete(call);
        end();
      }
    },
    runSync(binding) {
      const { end, request, transfer } = start(binding);
      try {
        writeOutputs(binding.outputs, worker.askSync(request, transfer));
      } finally {
        end();
      }
    },
    async close() {
      if (closed) return;
      closed = true;
      await Promise.allSettled(running);
      await worker.ask({ type: "close", session: created.session }, []);
    },
  };
}

function createFingerprint(options: OpenOrtOptions): EngineFingerprint {
  const { version }: { version: string } = createRequire(import.meta.url)("onnxruntime-node/package.json");
  return {
    engine: "onnxruntime",
    version,
    build: "",
    driver: "binding",
    provider: options.provider ?? "cpu",
    instructionSet: instructionSet(),
    platform: platformName(),
    threads: options.threads ?? 1,
    optimization: options.optimization ?? "all",
  };
}

/** Opens the binding driver and starts its worker thread. */
export function openBinding(options: OpenOrtOptions, reason: string): OrtRuntime {
  if (options.library !== undefined) {
    throw new OarlockError(
      "ORT_INVALID_OPTION",
      "library: the binding driver uses the library that onnxruntime-node ships; use driver 'native'",
    );
  }
  const worker = startBindingWorker();
  const fingerprint = createFingerprint(options);
  const create = async (model: Uint8Array, session: SessionOptions): Promise<OrtSession> => {
    if (model.byteLength === 0) throw new OarlockError("ORT_EMPTY_MODEL", "the model has no bytes");
    const copy = model.slice();
    const { wire, transfer } = pack(session.initializers ?? {});
    const request: BindingRequest = {
      type: "create",
      model: copy,
      provider: fingerprint.provider,
      threads: session.threads ?? fingerprint.threads,
      optimization: session.optimization ?? fingerprint.optimization,
      entries: {
        "session.intra_op.allow_spinning": (session.spinning ?? options.spinning) === true ? "1" : "0",
        ...session.entries,
      },
      initializers: wire,
    };
    const reply = await worker.ask(request, [copy.buffer as ArrayBuffer, ...transfer]); // slice() made its own buffer
    if (reply.type !== "created")
      throw new OarlockError("ORT_CALL_FAILED", `the worker answered '${reply.type}' to a create`);
    return openSession(worker, reply);
  };
  return {
    driver: "binding",
    driverReason: reason,
    provider: fingerprint.provider,
    fingerprint,
    createSession: (model, session = {}) => create(model, session),
    tensor: createTensor,
    residence: "host",
    deviceTensor(dtype, shape) {
      if (fingerprint.provider === "cpu") return createTensor(dtype, shape);
      throw new OarlockError(
        "ORT_UNSUPPORTED",
        "the binding driver cannot keep tensors on the device; use driver 'native'",
      );
    },
    view: (tensor, start, shape) =>
      createTensor(
        tensor.dtype,
        shape,
        tensor.data.subarray(start, start + viewLength(tensor, start, shape)),
      ),
    copy: (sources, targets) => {
      for (const pair of copyPairs(sources, targets)) copyOnHost(...pair);
    },
    close: () => worker.close(),
  };
}
