/** What telemetry promises a run: nothing loaded when off, nothing blocked or failed when a backend is gone. */
import { createServer } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { currentTrace, silentLog, silentTelemetry, traced } from "@oarlock/runtime";
import type { Environment, Instrument, Log } from "@oarlock/runtime";
import { afterEach, describe, expect, it } from "vitest";
import { openTelemetry, prometheusName } from "./index.ts";
import type { ProcessTelemetry } from "./index.ts";

const opened: ProcessTelemetry[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((telemetry) => telemetry.end()));
});

async function open(environment: Environment, log: Log = silentLog): Promise<ProcessTelemetry> {
  const telemetry = await openTelemetry({ environment, resource: {}, log, flushTimeoutMs: 4_000 });
  opened.push(telemetry);
  return telemetry;
}

const loadedPackages = (): string[] =>
  Object.keys(createRequire(import.meta.url).cache).filter((file) => file.includes("@opentelemetry"));

/** A log that keeps its warnings. */
function hearing(): { log: Log; warnings: string[] } {
  const warnings: string[] = [];
  const warn: Log["warn"] = (message, { url = "" } = {}) =>
    void warnings.push(`${message} ${String(url)}`.trim());
  return { log: { ...silentLog, warn }, warnings };
}

/** A port where nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const STEPS: Instrument = { name: "test.steps", kind: "counter", unit: "{step}", description: "Steps" };
const SECONDS: Instrument = {
  name: "test.duration",
  kind: "histogram",
  unit: "s",
  description: "Durations",
  attributes: ["phase"],
  boundaries: [0.1, 1],
};
const MEMORY: Instrument = { name: "test.memory", kind: "gauge", unit: "By", description: "Memory" };

// First in the file: nothing has asked for the SDK yet.
describe("off", () => {
  it("loads no SDK, and gives silent telemetry", async () => {
    const telemetry = await open({});
    expect(telemetry.service({ role: "actor", instance: "actor-0" })).toBe(silentTelemetry);
    expect(telemetry.metricsUrl).toBeUndefined();
    expect(loadedPackages()).toEqual([]);
    await open({ OARLOCK_METRICS_PORT: "0" });
    expect(loadedPackages().length).toBeGreaterThan(0);
  });
});

describe("traces", () => {
  it("a backend that is gone costs one warning and no time", async () => {
    const [{ log, warnings }, port] = [hearing(), await closedPort()];
    const environment = {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://me:s3cret@127.0.0.1:${port}`,
      OTEL_EXPORTER_OTLP_TIMEOUT: "300",
      OTEL_BSP_SCHEDULE_DELAY: "20",
    };
    const telemetry = await open(environment, log);
    const { tracer } = telemetry.service({ role: "learner", instance: "learner" });
    for (let round = 0; round < 4; round++) {
      const start = process.cpuUsage();
      for (let i = 0; i < 50; i++) tracer.startSpan({ name: "work", parent: "none" }).end();
      // Of the processor: what others take of the machine is not ours.
      const { user, system } = process.cpuUsage(start);
      expect((user + system) / 1000).toBeLessThan(200);
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
    const startMs = performance.now();
    await telemetry.end();
    expect(performance.now() - startMs).toBeLessThan(5_000);
    const url = `http://…@127.0.0.1:${port}/v1/traces`;
    expect(warnings).toEqual([`traces cannot be exported; the run goes on without ${url}`]);
  });

  it("a backend that never answers is left behind at the deadline", async () => {
    const server = createServer(() => undefined);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const { log, warnings } = hearing();
    const environment = {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      OTEL_EXPORTER_OTLP_TIMEOUT: "60000",
    };
    const telemetry = await openTelemetry({ environment, resource: {}, log, flushTimeoutMs: 200 });
    telemetry
      .service({ role: "learner", instance: "learner" })
      .tracer.startSpan({ name: "work", parent: "none" })
      .end();
    const startMs = performance.now();
    await telemetry.end();
    expect(performance.now() - startMs).toBeLessThan(2_000);
    expect(warnings).toEqual(["telemetry did not export everything"]);
    server.closeAllConnections();
    server.close();
  });

  it("samples whole traces: children follow their root, and an unsampled context travels on", async () => {
    const environment = {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${await closedPort()}`,
      OTEL_EXPORTER_OTLP_TIMEOUT: "1",
      OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
      OTEL_TRACES_SAMPLER_ARG: "0.5",
    };
    const telemetry = await open(environment);
    const { tracer } = telemetry.service({ role: "learner", instance: "learner" });
    const roots = Array.from({ length: 400 }, () => tracer.startSpan({ name: "root", parent: "none" }));
    const sampled = roots.filter(({ recording }) => recording).length;
    expect(sampled).toBeGreaterThan(120);
    expect(sampled).toBeLessThan(280);
    for (const root of roots) {
      const child = tracer.startSpan({ name: "child", parent: root.context });
      expect(child.recording).toBe(root.recording);
      expect(child.context?.traceId).toBe(root.context?.traceId);
      expect(child.context?.flags).toBe(root.context?.flags);
    }
  });

  it("work runs under its span, and a failure passes through", async () => {
    const environment = {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${await closedPort()}`,
      OTEL_EXPORTER_OTLP_TIMEOUT: "1",
    };
    const { tracer } = (await open(environment)).service({ role: "actor", instance: "actor-0" });
    await traced(tracer, { name: "outer", parent: "none" }, async (outer) => {
      expect(currentTrace()).toEqual(outer.context);
      await traced(tracer, { name: "inner" }, (inner) => {
        expect(inner.context?.traceId).toBe(outer.context?.traceId);
        expect(inner.context?.spanId).not.toBe(outer.context?.spanId);
      });
    });
    const failure = traced(tracer, { name: "fails", parent: "none" }, () => Promise.reject(new Error("no")));
    await expect(failure).rejects.toThrow("no");
    expect(currentTrace()).toBeUndefined();
  });
});

describe("metrics", () => {
  it("are served with their units in the names, by service", async () => {
    const telemetry = await open({ OARLOCK_METRICS_PORT: "0" });
    for (const instance of ["actor-0", "actor-1"]) {
      const { meter } = telemetry.service({ role: "actor", instance });
      meter.recorder(STEPS)(2);
      meter.recorder(SECONDS)(0.5, { phase: "gen" });
      meter.observe(MEMORY, () => [{ value: 7 }]);
    }
    const response = await fetch(telemetry.metricsUrl ?? "");
    const text = await response.text();
    expect(response.headers.get("content-type")).toContain("version=0.0.4");
    expect(text).toContain('test_steps_total{oarlock_service="actor-0"} 2');
    expect(text).toContain('test_steps_total{oarlock_service="actor-1"} 2');
    expect(text).toContain('test_duration_seconds_bucket{phase="gen",oarlock_service="actor-1",le="0.1"} 0');
    expect(text).toContain('test_duration_seconds_bucket{phase="gen",oarlock_service="actor-1",le="1"} 1');
    expect(text).toContain('test_memory_bytes{oarlock_service="actor-0"} 7');
    expect(text).toMatch(/^nodejs_eventloop_delay_p99_seconds \d/m);
    expect(text.match(/# TYPE test_steps_total/g)).toHaveLength(1);
    const other = await fetch((telemetry.metricsUrl ?? "").replace("/metrics", "/"));
    expect(other.status).toBe(404);
  });

  it("say the name that the exposition has", () => {
    expect([STEPS, SECONDS, MEMORY].map(prometheusName)).toEqual([
      "test_steps_total",
      "test_duration_seconds",
      "test_memory_bytes",
    ]);
  });

  it("X1: a port that is taken is refused by name", async () => {
    const first = await open({ OARLOCK_METRICS_PORT: "0" });
    const { port } = new URL(first.metricsUrl ?? "");
    await expect(open({ OARLOCK_METRICS_PORT: port })).rejects.toThrow(/METRICS_BIND_FAILED.*127\.0\.0\.1/);
  });
});
