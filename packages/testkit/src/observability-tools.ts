/**
 * Real backends of telemetry for tests: where their programs come from (the PATH, else the archive beside the repository),
 * and how they are started on loopback ports. Absent ones skip loudly, as files do.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { requiredKinds } from "./config.ts";
import { freePort } from "./kube/process.ts";
import { findProgram, unpackedArchive } from "./programs.ts";
import type { WantedFile } from "./require-file.ts";

const ARCHIVE = { folder: "../shared/observability", pattern: /^jaeger-.*-linux-amd64\.tar\.xz$/ } as const;

/** Programs that the archive holds; each is also the kind that `OARLOCK_REQUIRE` names. */
export type ObservabilityTool = "jaeger" | "otelcol";

/** Looks for a program. Throws where it is absent and `OARLOCK_REQUIRE` names it. */
export function requireTool(tool: ObservabilityTool): WantedFile {
  const unpacked = findProgram(tool) === undefined ? unpackedArchive(ARCHIVE) : undefined;
  const path = findProgram(tool) ?? (unpacked === undefined ? undefined : findProgram(tool, [unpacked]));
  return wanted(tool, path, `no ${tool} on the PATH or in ${ARCHIVE.folder}`);
}

/** promtool of Prometheus (Debian package `prometheus`); kind "promtool". */
export function requirePromtool(): WantedFile {
  return wanted("promtool", findProgram("promtool"), "no promtool on the PATH; Debian: prometheus");
}

/** grpcurl, its Go module built; kind "grpcurl". */
export function requireGrpcurl(): WantedFile {
  const module = "github.com/fullstorydev/grpcurl/cmd/grpcurl";
  return wanted("grpcurl", findProgram("grpcurl"), `no grpcurl on the PATH; go install ${module}@v1.9.3`);
}

function wanted(kind: string, path: string | undefined, why: string): WantedFile {
  if (path !== undefined) return { path, exists: true, absent: false, note: "" };
  if (requiredKinds().has(kind)) throw new OarlockError("TESTKIT_TOOL_ABSENT", why);
  return { path: "", exists: false, absent: true, note: ` (skipped: ${why})` };
}

/** A running Jaeger with an empty store. */
export interface Jaeger extends AsyncDisposable {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly otlpUrl: string;
  /** OTLP JSON of one trace, as `/api/v3/traces` gives it; undefined while it is unknown. */
  trace(traceId: string): Promise<JaegerTrace | undefined>;
  /** Polls until the trace has what `isWhole` asks for, at most 10 s; then gives what there is. */
  wholeTrace(
    traceId: string,
    isWhole: (spans: readonly JaegerSpan[]) => boolean,
  ): Promise<readonly JaegerSpan[]>;
  /** Trace ids of a service, by v1's search. */
  traceIds(service: string, operation: string): Promise<string[]>;
  stop(): Promise<void>;
}

export interface JaegerTrace {
  readonly spans: readonly JaegerSpan[];
}

/** A span with attributes as plain values. */
export interface JaegerSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** "" of a root. */
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: number;
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly links: readonly {
    readonly traceId: string;
    readonly spanId: string;
    readonly attributes: Readonly<Record<string, unknown>>;
  }[];
  readonly resource: Readonly<Record<string, unknown>>;
  /** 2 is an error. */
  readonly status: number;
}

/** Starts Jaeger (v2) with its store in memory, in `folder`. */
export async function startJaeger(binary: string, folder: string): Promise<Jaeger> {
  const [query, queryGrpc, otlpGrpc, otlp] = await freePorts(4);
  const config = join(folder, "jaeger.yaml");
  writeFileSync(
    config,
    `service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {receivers: [otlp], exporters: [jaeger_storage_exporter]}
  telemetry: {metrics: {level: none}, logs: {level: error}}
extensions:
  jaeger_query:
    storage: {traces: mem}
    http: {endpoint: 127.0.0.1:${query}}
    grpc: {endpoint: 127.0.0.1:${queryGrpc}}
  jaeger_storage:
    backends: {mem: {memory: {max_traces: 100000}}}
receivers:
  otlp: {protocols: {grpc: {endpoint: 127.0.0.1:${otlpGrpc}}, http: {endpoint: 127.0.0.1:${otlp}}}}
exporters:
  jaeger_storage_exporter: {trace_storage: mem}
`,
  );
  const api = `http://127.0.0.1:${query}`;
  const stop = await startTool(binary, config, async () => (await fetch(`${api}/api/services`)).ok);
  const trace = async (traceId: string): Promise<JaegerTrace | undefined> => {
    const response = await fetch(`${api}/api/v3/traces/${traceId}`);
    if (!response.ok) return undefined;
    const { result } = (await response.json()) as { result?: OtlpTraces };
    return { spans: spansOf(result ?? {}) };
  };
  return {
    otlpUrl: `http://127.0.0.1:${otlp}`,
    trace,
    async wholeTrace(traceId, isWhole) {
      const untilMs = performance.now() + 10_000;
      for (;;) {
        const spans = (await trace(traceId))?.spans ?? [];
        if (isWhole(spans) || performance.now() > untilMs) return spans;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    },
    async traceIds(service, operation) {
      const asked = new URLSearchParams({ service, operation, limit: "1000", lookback: "1h" });
      const response = await fetch(`${api}/api/traces?${asked.toString()}`);
      const { data } = (await response.json()) as { data: { traceID: string }[] | null };
      return (data ?? []).map(({ traceID }) => traceID);
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** A running OpenTelemetry Collector that writes what it receives into files and serves metrics. */
export interface Collector extends AsyncDisposable {
  readonly otlpUrl: string;
  /** Spans received so far. */
  spans(): readonly JaegerSpan[];
  /** Its own Prometheus exposition of the metrics that it received. */
  metrics(): Promise<string>;
  stop(): Promise<void>;
}

/** Starts the Collector; its files lie in `folder`. */
export async function startCollector(binary: string, folder: string): Promise<Collector> {
  const [otlpGrpc, otlp, prometheus] = await freePorts(3);
  const [config, traces] = [join(folder, "otelcol.yaml"), join(folder, "traces.jsonl")];
  writeFileSync(
    config,
    `receivers:
  otlp: {protocols: {grpc: {endpoint: 127.0.0.1:${otlpGrpc}}, http: {endpoint: 127.0.0.1:${otlp}}}}
exporters:
  file/traces: {path: ${traces}, flush_interval: 100ms}
  prometheus: {endpoint: 127.0.0.1:${prometheus}}
service:
  telemetry: {metrics: {level: none}, logs: {level: error}}
  pipelines:
    traces: {receivers: [otlp], exporters: [file/traces]}
    metrics: {receivers: [otlp], exporters: [prometheus]}
`,
  );
  const url = `http://127.0.0.1:${prometheus}/metrics`;
  const stop = await startTool(binary, config, async () => (await fetch(url)).ok);
  return {
    otlpUrl: `http://127.0.0.1:${otlp}`,
    spans: () =>
      (existsSync(traces) ? readFileSync(traces, "utf8").split("\n") : [])
        .filter((line) => line.trim() !== "")
        .flatMap((line) => spansOf(JSON.parse(line) as OtlpTraces)),
    metrics: async () => (await fetch(url)).text(),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

const READY_TIMEOUT_MS = 20_000;

/** Starts a program and waits until it answers; gives how to end it. */
async function startTool(
  binary: string,
  config: string,
  isReady: () => Promise<boolean>,
): Promise<() => Promise<void>> {
  const child: ChildProcess = spawn(binary, ["--config", config], { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  const hear = (text: Buffer): void => void (said = `${said}${text.toString()}`.slice(-4_000));
  child.stdout?.on("data", hear);
  child.stderr?.on("data", hear);
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const untilMs = performance.now() + READY_TIMEOUT_MS;
  while (!(await isReady().catch(() => false))) {
    if (child.exitCode !== null || performance.now() > untilMs) {
      child.kill("SIGKILL");
      throw new OarlockError("TESTKIT_TOOL_FAILED", `${binary} did not get ready: ${said}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return async () => {
    child.kill("SIGKILL");
    await ended;
  };
}

async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await freePort());
  return [...ports];
}

interface OtlpValue {
  readonly stringValue?: string;
  readonly intValue?: string | number;
  readonly doubleValue?: number;
  readonly boolValue?: boolean;
  readonly arrayValue?: { readonly values?: readonly OtlpValue[] };
}

type OtlpAttributes = readonly { readonly key: string; readonly value: OtlpValue }[];

interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind?: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes?: OtlpAttributes;
  readonly links?: readonly {
    readonly traceId: string;
    readonly spanId: string;
    readonly attributes?: OtlpAttributes;
  }[];
  readonly status?: { readonly code?: number };
}

interface OtlpTraces {
  readonly resourceSpans?: readonly {
    readonly resource?: { readonly attributes?: OtlpAttributes };
    readonly scopeSpans?: readonly { readonly spans?: readonly OtlpSpan[] }[];
  }[];
}

function spansOf({ resourceSpans = [] }: OtlpTraces): JaegerSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans = [] }) =>
    scopeSpans.flatMap(({ spans = [] }) => spans.map((span) => spanOf(span, plain(resource?.attributes)))),
  );
}

function spanOf(span: OtlpSpan, resource: Record<string, unknown>): JaegerSpan {
  const { traceId, spanId, parentSpanId = "", name, kind = 0, links = [], attributes, status } = span;
  const ms = (nanoseconds: string): number => Number(BigInt(nanoseconds) / 1_000n) / 1_000;
  return {
    traceId,
    spanId,
    parentSpanId,
    name,
    kind,
    startMs: ms(span.startTimeUnixNano),
    endMs: ms(span.endTimeUnixNano),
    attributes: plain(attributes),
    links: links.map((link) => ({
      traceId: link.traceId,
      spanId: link.spanId,
      attributes: plain(link.attributes),
    })),
    resource,
    status: status?.code ?? 0,
  };
}

function plain(attributes: OtlpAttributes = []): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, plainValue(value)]));
}

function plainValue(value: OtlpValue): unknown {
  const { stringValue, intValue, doubleValue, boolValue, arrayValue } = value;
  if (arrayValue !== undefined) return (arrayValue.values ?? []).map(plainValue);
  return stringValue ?? (intValue === undefined ? undefined : Number(intValue)) ?? doubleValue ?? boolValue;
}
