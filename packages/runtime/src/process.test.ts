/** Logs, life, settings, traces, loop delay: what a process says and how it ends. */
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { OarlockError } from "@oarlock/errors";
import { createManualClock } from "./clock.ts";
import { createSettingsReader } from "./config.ts";
import { startLoopDelayMonitor } from "./event-loop-delay.ts";
import { Lifecycle } from "./lifecycle.ts";
import { createLog, type LogLevel } from "./log.ts";
import { currentTrace, formatTraceparent, parseTraceparent, withTrace } from "./trace-context.ts";

function capture(level: LogLevel = "info") {
  const lines: Record<string, unknown>[] = [];
  const log = createLog({
    level,
    fields: { service: "learner" },
    write: (line) => lines.push(JSON.parse(line)),
  });
  return { log, lines };
}

describe("log", () => {
  it("writes levels by name, fields of children, and nothing below its level", () => {
    const { log, lines } = capture();
    log.child({ run: "r1" }).info("step done", { step: 3 });
    log.debug("too detailed");
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({
      level: "info",
      message: "step done",
      service: "learner",
      run: "r1",
      step: 3,
    });
    expect(String(lines[0]?.["time"])).toMatch(/^\d{4}-\d\d-\d\dT/);
    expect(() => createLog({ level: "loud" as LogLevel })).toThrow(/accepted: debug, info/);
  });

  it("never writes secrets", () => {
    const { log, lines } = capture();
    log.child({ token: "hunter2" }).info("connect", {
      password: "hunter2",
      options: { apiKey: "hunter2", nested: { authorization: "hunter2" } },
    });
    expect(JSON.stringify(lines)).not.toContain("hunter2");
    expect(JSON.stringify(lines)).toContain("[redacted]");
  });

  it("writes an error with its code and causes, and the trace it happened in", () => {
    const { log, lines } = capture();
    const err = new OarlockError("SCORER_FAILED", "judge is gone", { cause: new Error("ECONNRESET") });
    const trace = { traceId: "a".repeat(32), spanId: "b".repeat(16), flags: 1 };
    withTrace(trace, () => log.error("scoring failed", { err }));
    expect(lines[0]).toMatchObject({
      trace_id: trace.traceId,
      span_id: trace.spanId,
      err: { code: "SCORER_FAILED", cause: { message: "ECONNRESET" } },
    });
  });
});

describe("lifecycle", () => {
  it("drains first, ends the newest part first, once, and goes on after a failure", async () => {
    const { log, lines } = capture();
    const lifecycle = new Lifecycle({ name: "actor", log });
    const order: string[] = [];
    lifecycle.onEnd("bus", () => void order.push(`bus, draining ${lifecycle.draining}`));
    lifecycle.onEnd("engine", () => {
      order.push("engine");
      throw new OarlockError("ENGINE_STUCK", "no");
    });
    lifecycle.use("server", { [Symbol.asyncDispose]: async () => void order.push("server") });
    const ends = [lifecycle.end("test"), lifecycle.end("again")];
    await expect(ends[0]).rejects.toMatchObject({
      code: "SHUTDOWN_INCOMPLETE",
      message: expect.stringContaining("engine"),
    });
    expect(ends[1]).toBe(ends[0]);
    expect(order).toEqual(["server", "engine", "bus, draining true"]);
    expect(lifecycle.signal.reason).toMatchObject({ code: "DRAINING" });
    expect(lines.map(({ message }) => message)).toContain("a part did not end cleanly");
  });

  it("L1: leaves a part that is late behind, and names it", async () => {
    const clock = createManualClock();
    const lifecycle = new Lifecycle({ name: "actor", clock, graceMs: 1_000 });
    const ended = vi.fn<() => void>();
    lifecycle.onEnd("bus", ended);
    lifecycle.onEnd("engine", () => new Promise(() => undefined));
    const outcome = expect(lifecycle.end("SIGTERM")).rejects.toThrow(
      /engine: .*waited 1000 ms for engine to end/,
    );
    await clock.advance(1_000);
    await clock.advance(0);
    await outcome;
    expect(ended).toHaveBeenCalledOnce();
  });

  it("ends on a signal and stops listening", async () => {
    const before = process.listenerCount("SIGUSR2");
    const lifecycle = new Lifecycle({ name: "actor" });
    lifecycle.listenToSignals(["SIGUSR2"]);
    process.kill(process.pid, "SIGUSR2");
    await expect.poll(() => lifecycle.draining).toBe(true);
    await lifecycle.end("after");
    expect(process.listenerCount("SIGUSR2")).toBe(before);
  });
});

describe("settings", () => {
  const read = createSettingsReader({ PORT: "8080", EMPTY: "", BAD: "80O0", FLAG: "1", MODE: "fast" });

  it("are typed, with fallbacks for what is absent or empty", () => {
    expect(read.integer("PORT", { min: 1, max: 65_535, fallback: 1 })).toBe(8080);
    expect(read.integer("EMPTY", { min: 1, max: 9, fallback: 7 })).toBe(7);
    expect([read.text("NONE"), read.text("NONE", "x"), read.flag("FLAG", false)]).toEqual([
      undefined,
      "x",
      true,
    ]);
    expect(read.choice("MODE", ["fast", "slow"], "slow")).toBe("fast");
  });

  it("X1: name the variable, its value and what is accepted", () => {
    expect(() => read.integer("BAD", { min: 1, max: 65_535, fallback: 1 })).toThrow(
      /BAD="80O0"; accepted: a whole number from 1 to 65535/,
    );
    expect(() => read.integer("PORT", { min: 1, max: 80, fallback: 1 })).toThrow(/PORT="8080"/);
    expect(() => read.flag("MODE", true)).toThrow(/MODE="fast"; accepted: true, 1, false or 0/);
    expect(() => read.choice("BAD", ["a", "b"], "a")).toThrow(/accepted: a, b/);
  });
});

describe("trace context", () => {
  const hex = (length: number) =>
    fc
      .string({
        unit: fc.constantFrom(...Array.from("0123456789abcdef")),
        minLength: length,
        maxLength: length,
      })
      .filter((id) => !/^0+$/.test(id));

  it("reads back what it writes", () => {
    fc.assert(
      fc.property(hex(32), hex(16), fc.nat(255), (traceId, spanId, flags) => {
        const context = { traceId, spanId, flags };
        expect(parseTraceparent(formatTraceparent(context))).toEqual(context);
      }),
    );
  });

  it("takes no garbage, and later versions as the standard says", () => {
    const [trace, span] = ["a".repeat(32), "b".repeat(16)];
    const bad = [
      undefined,
      "",
      "x",
      `00-${trace}-${span}`,
      `ff-${trace}-${span}-01`,
      `00-${trace}-${span}-01-more`,
      `00-${"0".repeat(32)}-${span}-01`,
      `00-${trace}-${"0".repeat(16)}-01`,
      `00-${trace.toUpperCase()}-${span}-01`,
    ];
    for (const text of bad) expect(parseTraceparent(text)).toBeUndefined();
    expect(parseTraceparent(`cc-${trace}-${span}-01-more`)).toMatchObject({ traceId: trace, flags: 1 });
    expect(parseTraceparent(`00-${trace}-${span}-01`, "x=".padEnd(600, "y"))).not.toHaveProperty("state");
  });

  it("follows asynchronous calls", async () => {
    const context = { traceId: "a".repeat(32), spanId: "b".repeat(16), flags: 0 };
    await withTrace(context, async () => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      expect(currentTrace()).toBe(context);
    });
    expect(currentTrace()).toBeUndefined();
  });
});

describe("loop delay", () => {
  it("P1: sees a loop that is held up", async () => {
    using monitor = startLoopDelayMonitor();
    await new Promise((resolve) => setTimeout(resolve, 60));
    monitor.reset();
    expect(monitor.read()).toEqual({ p50Ms: 0, p99Ms: 0, maxMs: 0 });
    await new Promise((resolve) => setTimeout(resolve, 30));
    const untilMs = performance.now() + 200;
    while (performance.now() < untilMs);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(monitor.read().maxMs).toBeGreaterThan(150);
  });
});
