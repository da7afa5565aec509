/** Our `Tracer` over OpenTelemetry's: contexts, kinds, links, sampling, and a pipeline that blocks nobody. */
import {
  createTraceState,
  type Context,
  type MeterProvider,
  ROOT_CONTEXT,
  type Span as SdkSpan,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  trace,
  type Tracer as SdkTracer,
} from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import type { Resource } from "@opentelemetry/resources";
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type Sampler,
  TracerProvider,
  TraceIdRatioBasedSampler,
} from "@opentelemetry/sdk-trace";
import { causeChain, isOarlockError } from "@oarlock/errors";
import {
  type Log,
  parentOf,
  silentTracer,
  type Span,
  type SpanKind as Kind,
  type SpanLink,
  type SpanOptions,
  type TraceContext,
  type Tracer,
} from "@oarlock/runtime";
import { defined } from "./defined.ts";
import { quietExporter } from "./quiet-exporter.ts";
import type { SamplerName, TraceSettings } from "./settings.ts";

export interface Tracing {
  /** A tracer whose spans are of the service that the resource describes. */
  tracer(resource: Resource): Tracer;
  end(): Promise<void>;
}

/** Starts the pipeline; undefined settings give silent tracers. */
export function startTracing(
  settings: TraceSettings | undefined,
  parts: { readonly log: Log; readonly meterProvider: MeterProvider | undefined },
): Tracing {
  if (settings === undefined) return { tracer: () => silentTracer, end: () => Promise.resolve() };
  const { url, headers, timeoutMs, maxQueue, maxBatch, delayMs, maxLinks } = settings;
  const selfObs = parts.meterProvider === undefined ? {} : { selfObsMeterProvider: parts.meterProvider };
  const exporter = new OTLPTraceExporter({ url, headers: { ...headers }, timeoutMillis: timeoutMs });
  const processor = new BatchSpanProcessor({
    exporter: quietExporter(exporter, { what: "traces", url, log: parts.log }),
    maxQueueSize: maxQueue,
    maxExportBatchSize: maxBatch,
    scheduledDelayMillis: delayMs,
    ...selfObs,
  });
  const sampler = samplerOf(settings.sampler, settings.ratio);
  return {
    tracer(resource) {
      const provider = new TracerProvider({
        resource,
        sampler,
        spanProcessors: [processor],
        spanLimits: { linkCountLimit: maxLinks },
      });
      return adapt(provider.getTracer("oarlock"));
    },
    end: () => processor.shutdown(),
  };
}

function samplerOf(name: SamplerName, ratio: number): Sampler {
  const roots: { readonly [N in SamplerName]: () => Sampler } = {
    always_on: () => new AlwaysOnSampler(),
    always_off: () => new AlwaysOffSampler(),
    traceidratio: () => new TraceIdRatioBasedSampler(ratio),
    parentbased_always_on: () => new ParentBasedSampler({ root: new AlwaysOnSampler() }),
    parentbased_always_off: () => new ParentBasedSampler({ root: new AlwaysOffSampler() }),
    parentbased_traceidratio: () => new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) }),
  };
  return roots[name]();
}

const KINDS: { readonly [K in Kind]: SpanKind } = {
  internal: SpanKind.INTERNAL,
  client: SpanKind.CLIENT,
  server: SpanKind.SERVER,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
};

function adapt(tracer: SdkTracer): Tracer {
  return { startSpan: (options) => wrap(start(tracer, options)) };
}

function start(tracer: SdkTracer, options: SpanOptions): SdkSpan {
  const { name, kind = "internal", attributes = {}, links = [], startMs } = options;
  const parent = parentOf(options);
  const sdkOptions = {
    kind: KINDS[kind],
    attributes: defined(attributes),
    links: links.map(linkOf),
    ...(startMs === undefined ? {} : { startTime: startMs }),
  };
  return tracer.startSpan(name, sdkOptions, contextOf(parent));
}

function wrap(span: SdkSpan): Span {
  return {
    context: ownContext(span.spanContext()),
    recording: span.isRecording(),
    set: (attributes) => void span.setAttributes(defined(attributes)),
    link: (link) => void span.addLink(linkOf(link)),
    fail(reason) {
      const type = isOarlockError(reason) ? reason.code : reason instanceof Error ? reason.name : "unknown";
      span.setAttribute("error.type", type);
      span.setStatus({ code: SpanStatusCode.ERROR, message: causeChain(reason).join(": ") });
    },
    end: (atMs) => span.end(atMs),
  };
}

function contextOf(parent: TraceContext | undefined): Context {
  return parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, spanContextOf(parent));
}

function spanContextOf({ traceId, spanId, flags, state }: TraceContext): SpanContext {
  return {
    traceId,
    spanId,
    traceFlags: flags,
    isRemote: true,
    ...(state === undefined ? {} : { traceState: createTraceState(state) }),
  };
}

function ownContext({ traceId, spanId, traceFlags, traceState }: SpanContext): TraceContext {
  const state = traceState?.serialize() ?? "";
  return { traceId, spanId, flags: traceFlags, ...(state === "" ? {} : { state }) };
}

function linkOf({ context, attributes = {} }: SpanLink): {
  readonly context: SpanContext;
  readonly attributes: ReturnType<typeof defined>;
} {
  return { context: spanContextOf(context), attributes: defined(attributes) };
}
