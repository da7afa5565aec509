/** Between typed handlers and grpc-js's calls: cancellation, backpressure, trace context, errors as statuses. */
import { once } from "node:events";
import { isOarlockError, OarlockError } from "@oarlock/errors";
import { type Log, parseTraceparent, type Telemetry, type TraceContext } from "@oarlock/runtime";
import { create, type DescMethod, type DescService } from "@bufbuild/protobuf";
import type {
  handleServerStreamingCall,
  handleUnaryCall,
  Metadata,
  sendUnaryData,
  ServerUnaryCall,
  ServerWritableStream,
  UntypedHandleCall,
} from "@grpc/grpc-js";
import { tracedCall } from "./call-telemetry.ts";
import { checkToken } from "./security.ts";
import type { AnyInit, AnyMessage, CallContext } from "./service.ts";
import { toStatus } from "./status.ts";

/** What every call of a server shares. */
export interface CallDesk {
  readonly draining: AbortSignal;
  /** Every call in flight; aborted one by one when the grace is over. */
  readonly calls: Set<AbortController>;
  readonly token?: string;
  readonly log: Log;
  readonly telemetry: Telemetry;
}

/** The part of grpc-js's kinds of call that we read. */
interface Call {
  readonly metadata: Metadata;
  getPeer(): string;
  once(event: "cancelled", listener: () => void): unknown;
}

type UnaryCall = ServerUnaryCall<AnyMessage, AnyMessage>;
type StreamCall = ServerWritableStream<AnyMessage, AnyMessage>;
type OneAnswer = (input: unknown, context: CallContext) => Promise<AnyInit>;
type ManyAnswers = (input: unknown, context: CallContext) => AsyncIterable<AnyInit>;

/** Makes grpc-js's handler of ours. */
export function adapt(
  service: DescService,
  method: DescMethod,
  handler: unknown,
  desk: CallDesk,
): UntypedHandleCall {
  const name = `${service.typeName}/${method.name}`;
  if (typeof handler !== "function") throw new OarlockError("RPC_HANDLER_MISSING", `${name} has no handler`);
  const answering = { name, method, desk };
  // `ServiceImpl` has checked the handler against the method's kind.
  const one = handler as OneAnswer;
  const many = handler as ManyAnswers;
  const unary: handleUnaryCall<AnyMessage, AnyMessage> = (call, callback) =>
    void answerOnce(answering, { call, run: one, callback });
  const serverStreaming: handleServerStreamingCall<AnyMessage, AnyMessage> = (call) =>
    void answerMany(answering, { call, run: many });
  return method.methodKind === "server_streaming" ? serverStreaming : unary;
}

interface Answering {
  readonly name: string;
  readonly method: DescMethod;
  readonly desk: CallDesk;
}

async function answerOnce(
  { name, method, desk }: Answering,
  { call, run, callback }: { call: UnaryCall; run: OneAnswer; callback: sendUnaryData<AnyMessage> },
): Promise<void> {
  const { context, done } = enter(call, desk);
  try {
    const answer = await underSpan(desk, name, call, async () => {
      checkToken(call.metadata, desk.token);
      return create(method.output, await run(call.request, context));
    });
    callback(null, answer);
  } catch (reason) {
    report(desk.log, name, reason);
    callback(toStatus(reason));
  } finally {
    done();
  }
}

async function answerMany(
  { name, method, desk }: Answering,
  { call, run }: { call: StreamCall; run: ManyAnswers },
): Promise<void> {
  const { context, done } = enter(call, desk);
  try {
    // The generator's body runs wherever `next` is called: iterate under the trace, not only create.
    await underSpan(desk, name, call, async () => {
      checkToken(call.metadata, desk.token);
      for await (const answer of run(call.request, context)) {
        if (context.signal.aborted) return;
        if (!call.write(create(method.output, answer))) await drained(call, context.signal);
      }
    });
    call.end();
  } catch (reason) {
    report(desk.log, name, reason);
    call.emit("error", toStatus(reason));
  } finally {
    done();
  }
}

/** Waits until the stream takes more, or the call is over: either way the writer looks again. */
async function drained(call: StreamCall, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await once(call, "drain", { signal }).catch(() => undefined);
}

function enter(call: Call, desk: CallDesk): { context: CallContext; done: () => void } {
  const controller = new AbortController();
  desk.calls.add(controller);
  call.once("cancelled", () => controller.abort(new OarlockError("ABORTED", "the caller is gone")));
  const context = { signal: controller.signal, draining: desk.draining, peer: call.getPeer() };
  return { context, done: () => void desk.calls.delete(controller) };
}

/** Runs `work` under the server's span of this call: a child of the caller's, or the root of a trace. */
function underSpan<T>(desk: CallDesk, method: string, call: Call, work: () => Promise<T>): Promise<T> {
  const parent = traceOf(call.metadata) ?? "none";
  return tracedCall(desk.telemetry, { side: "server", method, peer: call.getPeer(), parent }, work);
}

function traceOf(metadata: Metadata): TraceContext | undefined {
  const text = (name: string): string | undefined => {
    const [value] = metadata.get(name);
    return typeof value === "string" ? value : undefined;
  };
  return parseTraceparent(text("traceparent"), text("tracestate"));
}

/** Typed errors are answers; anything else is a bug, and its stack stays on this side. */
function report(log: Log, name: string, reason: unknown): void {
  if (!isOarlockError(reason)) log.error("a handler failed unexpectedly", { rpc: name, err: reason });
}
