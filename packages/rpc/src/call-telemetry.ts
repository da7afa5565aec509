/** One span and one duration for every call, on both sides, by the semantic conventions for RPC. Knows no transport. */
import {
  type Instrument,
  SECONDS_BOUNDARIES,
  type Span,
  type SpanOptions,
  type Telemetry,
  type TraceContext,
  traced,
} from "@oarlock/runtime";
import { status } from "@grpc/grpc-js";
import { toStatus } from "./status.ts";

/** What is measured of calls. Health checks are not among them. */
export const RPC_INSTRUMENTS: Readonly<Record<CallFacts["side"], Instrument>> = {
  client: {
    name: "rpc.client.call.duration",
    kind: "histogram",
    unit: "s",
    description: "Calls made, from request to last answer",
    attributes: ["rpc.system.name", "rpc.method", "rpc.status_code"],
    boundaries: SECONDS_BOUNDARIES,
  },
  server: {
    name: "rpc.server.call.duration",
    kind: "histogram",
    unit: "s",
    description: "Calls answered, from request to last answer",
    attributes: ["rpc.system.name", "rpc.method", "rpc.status_code"],
    boundaries: SECONDS_BOUNDARIES,
  },
};

/** Which call, seen from which side. */
export interface CallFacts {
  readonly side: "client" | "server";
  /** Fully qualified: `package.Service/Method`. */
  readonly method: string;
  /** The server's address, as a client knows it. */
  readonly address?: string;
  /** Of the caller, as a server knows it. */
  readonly peer?: string;
  readonly parent?: TraceContext | "none" | undefined;
}

/** Runs a call with one answer under its span. */
export async function tracedCall<T>(
  telemetry: Telemetry,
  facts: CallFacts,
  work: () => Promise<T>,
): Promise<T> {
  const done = timer(telemetry, facts);
  return traced(telemetry.tracer, spanOptions(facts), async (span) => {
    try {
      const answer = await work();
      done(span);
      return answer;
    } catch (reason) {
      done(span, reason);
      throw reason;
    }
  });
}

/**
 * Iterates over many answers under a span; `open` is given the context to send along.
 *
 * @yields each answer
 */
export async function* tracedStream<T>(
  telemetry: Telemetry,
  facts: CallFacts,
  open: (context: TraceContext | undefined) => AsyncIterable<T>,
): AsyncGenerator<T, void> {
  const span = telemetry.tracer.startSpan(spanOptions(facts));
  const done = timer(telemetry, facts);
  try {
    yield* open(span.context);
    done(span);
  } catch (reason) {
    done(span, reason);
    span.fail(reason);
    throw reason;
  } finally {
    span.end();
  }
}

function spanOptions({ side, method, address, peer, parent }: CallFacts): SpanOptions {
  const at = address === undefined ? -1 : address.lastIndexOf(":");
  return {
    name: method,
    kind: side,
    parent,
    attributes: {
      "rpc.system.name": "grpc",
      "rpc.method": method,
      "server.address": at < 0 ? undefined : address?.slice(0, at),
      "server.port": at < 0 ? undefined : Number(address?.slice(at + 1)),
      "network.peer.address": peer,
    },
  };
}

function timer({ meter }: Telemetry, { side, method }: CallFacts): (span: Span, reason?: unknown) => void {
  const record = meter.recorder(RPC_INSTRUMENTS[side]);
  const startMs = performance.now();
  return (span, reason) => {
    const code = reason === undefined ? "OK" : (status[toStatus(reason).code] ?? "UNKNOWN");
    span.set({ "rpc.status_code": code });
    const attributes = { "rpc.system.name": "grpc", "rpc.method": method, "rpc.status_code": code };
    record((performance.now() - startMs) / 1000, attributes);
  };
}
