/** What is measured of a process, once, whatever services it holds: how its event loop breathes (P1), who waits (L1), memory, CPU. */
import type { OpenWait } from "./deadline.ts";
import { type LoopDelay, startLoopDelayMonitor } from "./event-loop-delay.ts";
import type { Instrument, Meter } from "./meter.ts";

type InstrumentName =
  | "loopDelayP50"
  | "loopDelayP99"
  | "loopDelayMax"
  | "waits"
  | "oldestWait"
  | "memory"
  | "cpu"
  | "uptime";

/** Instruments of a process. */
export const PROCESS_INSTRUMENTS: Readonly<Record<InstrumentName, Instrument>> = {
  loopDelayP50: {
    name: "nodejs.eventloop.delay.p50",
    kind: "gauge",
    unit: "s",
    description: "How late the event loop answered since the last collection, median",
  },
  loopDelayP99: {
    name: "nodejs.eventloop.delay.p99",
    kind: "gauge",
    unit: "s",
    description: "How late the event loop answered since the last collection, 99th percentile",
  },
  loopDelayMax: {
    name: "nodejs.eventloop.delay.max",
    kind: "gauge",
    unit: "s",
    description: "How late the event loop answered since the last collection, at worst",
  },
  waits: {
    name: "oarlock.waits.open",
    kind: "gauge",
    unit: "{wait}",
    description: "Named waits that are open now",
  },
  oldestWait: {
    name: "oarlock.waits.oldest.age",
    kind: "gauge",
    unit: "s",
    description: "Age of the oldest open wait",
  },
  memory: {
    name: "process.memory.usage",
    kind: "gauge",
    unit: "By",
    description: "Resident memory of the process",
  },
  cpu: {
    name: "process.cpu.time",
    kind: "counter",
    unit: "s",
    description: "CPU time of the process, all threads",
    attributes: ["cpu.mode"],
  },
  uptime: { name: "process.uptime", kind: "gauge", unit: "s", description: "Time since the process started" },
};

/** Registers them once for the process; gives how to stop the measurement of its event loop. */
export function observeProcess(meter: Meter, waits: () => readonly OpenWait[]): () => void {
  // Its own monitor: every collection, which begins with the median, starts it anew.
  const monitor = startLoopDelayMonitor();
  let last: LoopDelay = { p50Ms: 0, p99Ms: 0, maxMs: 0 };
  meter.observe(PROCESS_INSTRUMENTS.loopDelayP50, () => {
    last = monitor.read();
    monitor.reset();
    return last.p50Ms / 1000;
  });
  meter.observe(PROCESS_INSTRUMENTS.loopDelayP99, () => last.p99Ms / 1000);
  meter.observe(PROCESS_INSTRUMENTS.loopDelayMax, () => last.maxMs / 1000);
  meter.observe(PROCESS_INSTRUMENTS.waits, () => waits().length);
  meter.observe(PROCESS_INSTRUMENTS.oldestWait, () =>
    waits().reduce((oldest, { ageMs }) => Math.max(oldest, ageMs / 1000), 0),
  );
  meter.observe(PROCESS_INSTRUMENTS.memory, () => process.memoryUsage.rss());
  meter.observe(PROCESS_INSTRUMENTS.cpu, () => {
    const { user, system } = process.cpuUsage();
    return [
      { value: user / 1e6, attributes: { "cpu.mode": "user" } },
      { value: system / 1e6, attributes: { "cpu.mode": "system" } },
    ];
  });
  meter.observe(PROCESS_INSTRUMENTS.uptime, () => process.uptime());
  return () => monitor.stop();
}
