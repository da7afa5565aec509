/**
 * Spans as plain types: what code says about its work, whoever listens. `silentTracer` listens to nothing and costs
 * nothing; `@oarlock/telemetry` brings one that exports. Context is the W3C one of `trace-context.ts`.
 */
import { currentTrace, type TraceContext, withTrace } from "./trace-context.ts";

/** A value of an attribute; undefined leaves it out. */
export type AttributeValue = string | number | boolean | readonly string[] | readonly number[];
export type Attributes = Readonly<Record<string, AttributeValue | undefined>>;

/** What a span does in a conversation between processes. */
export type SpanKind = "internal" | "client" | "server" | "producer" | "consumer";

/** A span elsewhere that this one has to do with, without being its child. */
export interface SpanLink {
  readonly context: TraceContext;
  readonly attributes?: Attributes;
}

export interface SpanOptions {
  /** Low in cardinality: what varies goes into attributes. */
  readonly name: string;
  /** Default "internal". */
  readonly kind?: SpanKind;
  /** "none" starts a trace. Default: the current trace context. */
  readonly parent?: TraceContext | "none" | undefined;
  readonly attributes?: Attributes;
  readonly links?: readonly SpanLink[];
  /** Unix time; default now. */
  readonly startMs?: number;
}

/** A piece of work that has begun. After `end` nothing changes it. */
export interface Span {
  /** What children and messages carry on. Undefined: there is no trace. */
  readonly context: TraceContext | undefined;
  /** False where nobody will see it: do not compute attributes for it. */
  readonly recording: boolean;
  set(attributes: Attributes): void;
  link(link: SpanLink): void;
  /** Marks it as failed. */
  fail(reason: unknown): void;
  /** At Unix time `atMs`; default now. */
  end(atMs?: number): void;
}

/** Starts spans. Never throws, never waits. */
export interface Tracer {
  startSpan(options: SpanOptions): Span;
}

/** The parent that options ask for. */
export function parentOf({ parent }: SpanOptions): TraceContext | undefined {
  return parent === "none" ? undefined : (parent ?? currentTrace());
}

const nothing = (): void => undefined;

/** A tracer that nobody listens to; contexts that come from elsewhere are passed on. */
export const silentTracer: Tracer = {
  startSpan: (options) => ({
    context: parentOf(options),
    recording: false,
    set: nothing,
    link: nothing,
    fail: nothing,
    end: nothing,
  }),
};

/** Ends a span with the outcome of `work`; a failure is marked and thrown on. */
export async function endingWith<T>(span: Span, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (reason) {
    span.fail(reason);
    throw reason;
  } finally {
    span.end();
  }
}

/** Runs `work` and all that it awaits under a new span, which ends with it. */
export function traced<T>(
  tracer: Tracer,
  options: SpanOptions,
  work: (span: Span) => T | Promise<T>,
): Promise<T> {
  const span = tracer.startSpan(options);
  return endingWith(
    span,
    withTrace(span.context, async () => work(span)),
  );
}
