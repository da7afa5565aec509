/**
 * Typed clients over one gRPC channel: a deadline on every call (L1), cancellation by signal and by leaving a loop early,
 * trace context along, failures as OarlockErrors. It does not retry: callers know what may be repeated (`retry`).
 */
import { OarlockError } from "@oarlock/errors";
import {
  currentTrace,
  silentTelemetry,
  type Telemetry,
  traceHeaders,
  type TraceHeaders,
  withTrace,
} from "@oarlock/runtime";
import { create, type DescMethod, type DescService } from "@bufbuild/protobuf";
import { type Call, Client as GrpcClient, Metadata, type ServiceError } from "@grpc/grpc-js";
import { service as healthDefinition } from "grpc-health-check";
import { type CallFacts, tracedCall, tracedStream } from "./call-telemetry.ts";
import { channelCredentials, type TlsOptions, withToken } from "./security.ts";
import { type AnyInit, type AnyMessage, type CallOptions, type Client, wireDefinition } from "./service.ts";
import { fromServiceError } from "./status.ts";

/** How to connect. */
export interface RpcChannelOptions {
  readonly tls?: TlsOptions;
  /** Bearer token. A function is asked at every call: a token may be renewed. */
  readonly token?: string | (() => string);
  /** Bound on one message in either direction. Default 16 MiB. */
  readonly maxMessageBytes?: number;
  /** Default: a silent one, which still passes the caller's trace on. */
  readonly telemetry?: Telemetry;
}

/** A lazily connected channel to one address. */
export interface RpcChannel extends Disposable {
  readonly address: string;
  /** A typed view of one service; making it costs nothing. */
  client<S extends DescService>(service: S): Client<S>;
  /** What the standard health service says; false also for "unknown service". */
  isServing(service?: DescService, options?: CallOptions): Promise<boolean>;
  close(): void;
}

const DEFAULT_MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
const UNARY_TIMEOUT_MS = 30_000;
const STREAM_TIMEOUT_MS = 600_000;
const HEALTH_TIMEOUT_MS = 5_000;

/** Opens a channel to `host:port`; nothing is sent before the first call. */
export function openChannel(address: string, options: RpcChannelOptions = {}): RpcChannel {
  const { tls, token, maxMessageBytes = DEFAULT_MAX_MESSAGE_BYTES, telemetry = silentTelemetry } = options;
  const channel = new GrpcClient(address, channelCredentials(tls), {
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.max_send_message_length": maxMessageBytes,
    ...(tls?.serverName === undefined ? {} : { "grpc.ssl_target_name_override": tls.serverName }),
  });
  const line: Line = { channel, address, token, telemetry };
  const close = (): void => channel.close();
  return {
    address,
    client<S extends DescService>(service: S): Client<S> {
      const methods = service.methods.map((method) => [method.localName, caller(line, service, method)]);
      // Computed from the same descriptor as the type.
      return Object.fromEntries(methods) as Client<S>;
    },
    isServing: (service, call) => checkHealth(line, service?.typeName ?? "", call),
    close,
    [Symbol.dispose]: close,
  };
}

interface Line {
  readonly channel: GrpcClient;
  readonly address: string;
  readonly token: RpcChannelOptions["token"];
  readonly telemetry: Telemetry;
}

function metadataFor(line: Line): Metadata {
  const token = typeof line.token === "function" ? line.token() : line.token;
  const metadata = withToken(new Metadata(), token);
  const trace = currentTrace();
  const { traceparent, tracestate }: Partial<TraceHeaders> = trace === undefined ? {} : traceHeaders(trace);
  if (traceparent !== undefined) metadata.set("traceparent", traceparent);
  if (tracestate !== undefined) metadata.set("tracestate", tracestate);
  return metadata;
}

type Settle = (error: ServiceError | null, response?: AnyMessage) => void;

/** One answer: the call is made by `start`, the signal cancels it, failures are ours. */
function single(name: string, options: CallOptions, start: (settle: Settle) => Call): Promise<AnyMessage> {
  const { signal } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(aborted(name, signal));
    const onAbort = (): void => call.cancel();
    const call = start((error, response) => {
      signal?.removeEventListener("abort", onAbort);
      if (error === null && response !== undefined) return resolve(response);
      if (signal?.aborted === true) return reject(aborted(name, signal));
      reject(
        error === null
          ? new OarlockError("RPC_INTERNAL", `${name}: no answer`)
          : fromServiceError(error, name),
      );
    });
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/**
 * Many answers: leaving the loop early cancels the call, so that the server does not work on.
 *
 * @yields each answer
 */
async function* stream(
  name: string,
  options: CallOptions,
  start: () => Call & AsyncIterable<AnyMessage>,
): AsyncGenerator<AnyMessage, void> {
  const { signal } = options;
  if (signal?.aborted === true) throw aborted(name, signal);
  const call = start();
  const onAbort = (): void => call.cancel();
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    yield* call;
  } catch (reason) {
    // Read again: the compiler holds it for unchanged since the check above.
    if (isAborted(signal)) throw aborted(name, signal);
    throw isServiceError(reason) ? fromServiceError(reason, name) : reason;
  } finally {
    signal?.removeEventListener("abort", onAbort);
    call.cancel();
  }
}

function isAborted(signal: AbortSignal | undefined): signal is AbortSignal {
  return signal?.aborted === true;
}

function aborted(name: string, signal: AbortSignal): OarlockError {
  return new OarlockError("ABORTED", `${name}: given up by the caller`, { cause: signal.reason });
}

function isServiceError(reason: unknown): reason is ServiceError {
  return (
    reason instanceof Error && "code" in reason && typeof reason.code === "number" && "metadata" in reason
  );
}

function caller(line: Line, service: DescService, method: DescMethod): unknown {
  const { channel } = line;
  const { path, requestSerialize, responseDeserialize } = wireDefinition(service, method);
  const qualified = `${service.typeName}/${method.name}`;
  const name = `${qualified} at ${line.address}`;
  const { telemetry, address } = line;
  const facts: CallFacts = { side: "client", method: qualified, address };
  const deadline = (options: CallOptions, defaultMs: number): { deadline: number } => ({
    deadline: Date.now() + (options.timeoutMs ?? defaultMs),
  });
  const message = (init: AnyInit): AnyMessage => create(method.input, init);
  const wire = [path, requestSerialize, responseDeserialize] as const;
  const unary = (request: AnyInit, options: CallOptions = {}): Promise<AnyMessage> =>
    tracedCall(telemetry, facts, () =>
      single(name, options, (settle) =>
        channel.makeUnaryRequest(
          ...wire,
          message(request),
          metadataFor(line),
          deadline(options, UNARY_TIMEOUT_MS),
          settle,
        ),
      ),
    );
  const serverStreaming = (request: AnyInit, options: CallOptions = {}): AsyncIterable<AnyMessage> =>
    tracedStream(telemetry, facts, (context) =>
      stream(name, options, () =>
        withTrace(context, () =>
          channel.makeServerStreamRequest(
            ...wire,
            message(request),
            metadataFor(line),
            deadline(options, STREAM_TIMEOUT_MS),
          ),
        ),
      ),
    );
  return method.methodKind === "server_streaming" ? serverStreaming : unary;
}

const NOT_FOUND = 5;

async function checkHealth(line: Line, service: string, options: CallOptions = {}): Promise<boolean> {
  const check = healthDefinition["Check"];
  if (check === undefined) throw new OarlockError("RPC_INTERNAL", "the health service lost its Check method");
  const { path, requestSerialize, responseDeserialize } = check;
  const deadline = { deadline: Date.now() + (options.timeoutMs ?? HEALTH_TIMEOUT_MS) };
  const wire = [path, requestSerialize, responseDeserialize, { service }] as const;
  return new Promise((resolve, reject) => {
    line.channel.makeUnaryRequest(...wire, metadataFor(line), deadline, (error, response = {}) => {
      if (error === null) resolve("status" in response && response.status === "SERVING");
      else if (error.code === NOT_FOUND) resolve(false);
      else reject(fromServiceError(error, `health of ${service || "the server"} at ${line.address}`));
    });
  });
}
