/** The processes of a run as lines for people: pure, from what they said. */
import { safeText, shortDuration } from "@oarlock/report";
import type { LiveProcess } from "../processes/index.ts";
import type { TextStyle } from "@oarlock/report";

/** A wait that is younger is no news. */
const NOTABLE_SECONDS = 2;

/** One paragraph per process. */
export function renderProcesses(processes: readonly LiveProcess[], style: TextStyle): string {
  return processes.map((one) => renderProcess(one, style)).join("\n");
}

function renderProcess(
  { instance, address, restarts, service, message }: LiveProcess,
  style: TextStyle,
): string {
  const again = restarts === 0 ? "" : `, started again ${restarts} times`;
  // What it says of messages that nobody could read may quote them.
  const said = safeText(withoutUid(message));
  const head = `  ${style.bold(instance)} ${style.dim(`${address ?? "no address"}${again}`)} ${said}`;
  const waits = waitLines(service);
  const queues = (service?.queues ?? [])
    .filter(({ depth }) => depth > 0n)
    .map(({ name, depth, capacity, oldest }) => {
      const age = oldest === undefined ? "" : `, the oldest ${shortDuration(Number(oldest.seconds))} old`;
      return `    ${depth} of ${capacity} ${withoutUid(name)}${age}`;
    });
  return [head, ...lateness(service), ...queues, ...waits].join("\n");
}

/** Every wait by its name, with the oldest age: many pulls under way are one line. */
function waitLines(service: LiveProcess["service"]): string[] {
  const groups = new Map<string, number[]>();
  for (const { name, age } of service?.waits ?? []) {
    const seconds = Number(age?.seconds ?? 0);
    if (seconds >= NOTABLE_SECONDS) groups.set(name, [...(groups.get(name) ?? []), seconds]);
  }
  return [...groups].map(([name, ages]) => {
    const times = ages.length === 1 ? "" : ` (${ages.length} times)`;
    return `    waits ${shortDuration(Math.max(...ages))} for ${withoutUid(name)}${times}`;
  });
}

/** The run's uid, which every stream carries: whoever asks for one run knows it. */
function withoutUid(name: string): string {
  return name.replace(/OARLOCK_\S+_(?=[A-Z]+\b)/g, "");
}

/** How late the event loop is (P1). */
function lateness(service: LiveProcess["service"]): string[] {
  const late = service?.eventLoopDelayP99;
  if (late === undefined) return [];
  const lateMs = Number(late.seconds) * 1_000 + late.nanos / 1e6;
  return [`    event loop ${lateMs.toFixed(1)} ms late (99th percentile)`];
}
