/** Traces and metrics of a run, received by a real OpenTelemetry Collector. */
import { requireTool, startCollector } from "@oarlock/testkit";
import type { Collector } from "@oarlock/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newFolder, run } from "./traced-run.ts";

const collectorBinary = requireTool("otelcol");

describe.skipIf(collectorBinary.absent)(`telemetry through the Collector${collectorBinary.note}`, () => {
  let collector: Collector;
  beforeAll(async () => {
    collector = await startCollector(collectorBinary.path, await newFolder());
  });
  afterAll(async () => collector?.stop());

  test("traces and metrics arrive, and metrics have the names of our own exposition", async () => {
    let exposition = "";
    const { records } = await run({
      environment: {
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.otlpUrl,
        OTEL_METRICS_EXPORTER: "otlp",
        OARLOCK_METRICS_PORT: "0",
      },
      onStep: async ({ addresses }) =>
        void (exposition = await (await fetch(addresses.metrics ?? "")).text()),
    });
    const seen = (): ReadonlySet<string> => new Set(collector.spans().map(({ traceId }) => traceId));
    const wanted = records.map(({ traceId }) => traceId ?? "");
    const untilMs = performance.now() + 10_000;
    while (!wanted.every((id) => seen().has(id)) && performance.now() < untilMs) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect([...seen()]).toEqual(expect.arrayContaining(wanted));
    const names = (text: string): string[] =>
      [...new Set([...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name ?? ""))].toSorted();
    const own = names(exposition).filter((name) => name.startsWith("oarlock_"));
    expect(own.length).toBeGreaterThan(20);
    expect(names(await collector.metrics())).toEqual(expect.arrayContaining(own));
  });
});
