/** What every service measures of its process: how its event loop breathes (P1), who waits (L1), memory, CPU. */
import type { OpenWait } from "./deadline.ts";
import { type LoopDelayMonitor, startLoopDelayMonitor } from "./event-loop-delay.ts";
import type { Instrument, Meter } from "./meter.ts";

/** Instruments of the process. */
export const PROCESS_INSTRUMENTS: Readonly<
  Record<"loopDelay" | "waits" | "oldestWait" | "memory" | "cpu" | "uptime", Instrument>
> = {
  loopDelay: {
    name: "nodejs.eventloop.delay",
    kind: "gauge",
    unit: "s",
    description: "How late the event loop answered since the last collection, by quantile: 0.5, 0.99, 1",
    attributes: ["quantile"],
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

/** Registers them with a service's meter; `waits` are those of the process. */
export function observeProcess(meter: Meter, waits: () => readonly OpenWait[]): void {
  // Its own monitor, since every collection resets it; started by the first one: nothing is measured for nobody.
  let monitor: LoopDelayMonitor | undefined;
  meter.observe(PROCESS_INSTRUMENTS.loopDelay, () => {
    monitor ??= startLoopDelayMonitor();
    const { p50Ms, p99Ms, maxMs } = monitor.read();
    monitor.reset();
    const at = (quantile: string, ms: number): { value: number; attributes: { quantile: string } } => ({
      value: ms / 1000,
      attributes: { quantile },
    });
    return [at("0.5", p50Ms), at("0.99", p99Ms), at("1", maxMs)];
  });
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
}
