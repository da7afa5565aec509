/**
 * W3C trace context (https://www.w3.org/TR/trace-context/): parse, write, and carry it along asynchronous calls. It makes
 * no spans; telemetry and transports meet here.
 */
import { AsyncLocalStorage } from "node:async_hooks";

/** Where in which trace we are. */
export interface TraceContext {
  /** 32 lower-case hex digits, not all 0. */
  readonly traceId: string;
  /** 16 lower-case hex digits, not all 0. */
  readonly spanId: string;
  /** 0 to 255; bit 0 is "sampled". */
  readonly flags: number;
  /** Vendor state, passed on unread. */
  readonly state?: string;
}

/** Version 00 ends after the flags; later versions may go on; ff is invalid, as are ids of zeros only. */
const TRACEPARENT =
  /^(?:00(?=.{53}$)|(?!00|ff)[0-9a-f]{2})-(?!0{32})(?<traceId>[0-9a-f]{32})-(?!0{16})(?<spanId>[0-9a-f]{16})-(?<flags>[0-9a-f]{2})(?:-.*)?$/;
const MAX_STATE_CHARACTERS = 512;

/** Undefined for anything that is not a valid header: a bad trace id never stops work. */
export function parseTraceparent(
  traceparent: string | undefined,
  tracestate?: string,
): TraceContext | undefined {
  const { traceId, spanId, flags } = TRACEPARENT.exec(traceparent ?? "")?.groups ?? {};
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  const context = { traceId, spanId, flags: Number.parseInt(flags, 16) };
  const passOn = tracestate !== undefined && tracestate !== "" && tracestate.length <= MAX_STATE_CHARACTERS;
  return passOn ? { ...context, state: tracestate } : context;
}

/** The `traceparent` header, version 00. */
export function formatTraceparent(context: TraceContext): string {
  return `00-${context.traceId}-${context.spanId}-${context.flags.toString(16).padStart(2, "0")}`;
}

/** Names as W3C and our records have them. */
export type TraceHeaders = { readonly traceparent: string; readonly tracestate?: string };

/** Both headers, as gRPC metadata, message headers and the contract's records carry them. */
export function traceHeaders(context: TraceContext): TraceHeaders {
  const traceparent = formatTraceparent(context);
  return context.state === undefined ? { traceparent } : { traceparent, tracestate: context.state };
}

/** The context of headers or of a record; undefined where there is none. */
export function traceOfHeaders(
  headers: { readonly traceparent?: string; readonly tracestate?: string } | undefined,
): TraceContext | undefined {
  return parseTraceparent(headers?.traceparent, headers?.tracestate);
}

/** Whether somebody will see the trace (bit 0 of the flags). */
export function isSampled(context: TraceContext | undefined): context is TraceContext {
  return context !== undefined && (context.flags & 1) === 1;
}

const storage = new AsyncLocalStorage<TraceContext | undefined>();

/** The trace context of the current asynchronous call, if any. */
export function currentTrace(): TraceContext | undefined {
  return storage.getStore();
}

/** Runs `work` and all that it awaits under a trace context. */
export function withTrace<T>(context: TraceContext | undefined, work: () => T): T {
  return storage.run(context, work);
}
