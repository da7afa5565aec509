/** Spans and measurements as plain types: what holds whoever listens, and when nobody does. */
import { describe, expect, it } from "vitest";
import { processWaits } from "./deadline.ts";
import type { Instrument, Meter } from "./meter.ts";
import { observeProcess, PROCESS_INSTRUMENTS } from "./process-metrics.ts";
import { currentTrace, isSampled, traceHeaders, traceOfHeaders, withTrace } from "./trace-context.ts";
import { endingWith, parentOf, silentTracer, type Span, traced, type Tracer } from "./tracer.ts";

const context = { traceId: "a".repeat(32), spanId: "b".repeat(16), flags: 1 };

/** A tracer whose spans write down what happens to them. */
function listening(): { tracer: Tracer; told: string[] } {
  const told: string[] = [];
  const startSpan: Tracer["startSpan"] = (options): Span => ({
    context: { ...context, spanId: String(told.length).padStart(16, "c") },
    recording: true,
    set: () => undefined,
    link: () => undefined,
    fail: (reason) => void told.push(`${options.name} failed: ${String(reason)}`),
    end: () => void told.push(`${options.name} ended`),
  });
  return { tracer: { startSpan }, told };
}

describe("headers of a context", () => {
  it("read back what they say, with the vendor's state or without", () => {
    expect(traceOfHeaders(traceHeaders(context))).toEqual(context);
    expect(traceOfHeaders(traceHeaders({ ...context, state: "x=y" }))).toEqual({ ...context, state: "x=y" });
    // Records of the contract say "" where there is nothing.
    expect(traceOfHeaders({ traceparent: "", tracestate: "" })).toBeUndefined();
    expect(traceOfHeaders(undefined)).toBeUndefined();
  });

  it("say whether somebody will see the trace", () => {
    expect([isSampled(context), isSampled({ ...context, flags: 2 }), isSampled(undefined)]).toEqual([
      true,
      false,
      false,
    ]);
  });
});

describe("traced", () => {
  it("runs work under its span and ends it, once, whatever happens", async () => {
    const { tracer, told } = listening();
    const seen = await traced(tracer, { name: "good" }, async (span) => {
      await Promise.resolve();
      return currentTrace() === span.context;
    });
    const failing = traced(tracer, { name: "bad" }, () => Promise.reject(new Error("oops")));
    await expect(failing).rejects.toThrow("oops");
    const thrown = traced(tracer, { name: "worse" }, () => {
      throw new Error("at once");
    });
    await expect(thrown).rejects.toThrow("at once");
    await expect(endingWith(tracer.startSpan({ name: "own" }), Promise.resolve(7))).resolves.toBe(7);
    expect(seen).toBe(true);
    expect(told).toEqual([
      "good ended",
      "bad failed: Error: oops",
      "bad ended",
      "worse failed: Error: at once",
      "worse ended",
      "own ended",
    ]);
    expect(currentTrace()).toBeUndefined();
  });

  it("passes a context on where nobody listens", async () => {
    await withTrace(context, async () => {
      expect(await traced(silentTracer, { name: "x" }, () => currentTrace())).toBe(context);
      expect(await traced(silentTracer, { name: "x", parent: "none" }, () => currentTrace())).toBeUndefined();
    });
    expect(parentOf({ name: "x", parent: context })).toBe(context);
  });
});

describe("observeProcess", () => {
  it("P1, L1: reads the event loop anew at every collection, and the waits that are open", async () => {
    const reads = new Map<Instrument, Parameters<Meter["observe"]>[1]>();
    const meter: Meter = {
      recorder: () => () => undefined,
      observe: (instrument, read) => void reads.set(instrument, read),
    };
    const stop = observeProcess(meter, () => processWaits.open());
    const read = (name: keyof typeof PROCESS_INSTRUMENTS): ReturnType<Parameters<Meter["observe"]>[1]> =>
      reads.get(PROCESS_INSTRUMENTS[name])?.() ?? [];
    expect([...reads.keys()]).toEqual(expect.arrayContaining(Object.values(PROCESS_INSTRUMENTS)));
    await new Promise((resolve) => setTimeout(resolve, 30));
    await read("loopDelayP50");
    await new Promise((resolve) => setTimeout(resolve, 30));
    const untilMs = performance.now() + 120;
    while (performance.now() < untilMs);
    await new Promise((resolve) => setTimeout(resolve, 30));
    await read("loopDelayP50");
    expect(read("loopDelayMax")).toBeGreaterThan(0.08);
    const leave = processWaits.enter("something that takes a while", 1_000);
    expect(read("waits")).toBe(processWaits.open().length);
    expect(read("waits")).toBeGreaterThan(0);
    leave();
    expect(read("memory")).toBeGreaterThan(1e6);
    stop();
  });
});
