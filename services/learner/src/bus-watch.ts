/**
 * What lies on the bus, looked at every few seconds: a status answers at once with what was seen last, also while the bus
 * is gone (P1). Poison is told once, by its reason.
 */
import type { Bus, StreamInfo } from "@oarlock/bus";
import type { Clock, Log, Timer } from "@oarlock/runtime";

export interface BusWatch {
  /** Depth of every stream, with the age of its oldest message. */
  queues(): {
    readonly name: string;
    readonly depth: number;
    readonly capacity: number;
    readonly oldestMs?: number;
  }[];
  /** A sentence about parked messages, or "". */
  parked(): string;
  stop(): void;
}

const EVERY_MS = 2_000;

/** Watches the streams that `bus` has opened; `capacities` by stream name. */
export function watchBus(options: {
  readonly bus: Pick<Bus, "info">;
  readonly capacities: ReadonlyMap<string, number>;
  readonly clock: Clock;
  readonly log: Log;
}): BusWatch {
  const { bus, capacities, clock, log } = options;
  let seen: readonly StreamInfo[] = [];
  let stopped = false;
  let timer: Timer | undefined;
  const told = new Set<string>();
  const look = async (): Promise<void> => {
    seen = await bus.info().catch(() => seen);
    for (const { name, parked } of seen) {
      for (const { sequence, reason } of parked) {
        if (told.has(`${name}/${sequence}`)) continue;
        told.add(`${name}/${sequence}`);
        log.error("a message is parked", { stream: name, sequence, reason });
      }
    }
    if (!stopped) timer = clock.after(EVERY_MS, () => void look());
  };
  void look();
  return {
    queues: () =>
      seen.map(({ name, messages, oldestMs }) => ({
        name: `messages in ${name}`,
        depth: messages,
        capacity: capacities.get(name) ?? messages,
        ...(oldestMs === undefined ? {} : { oldestMs }),
      })),
    parked() {
      const all = seen.flatMap(({ parked }) => parked);
      const last = all.at(-1);
      return last === undefined
        ? ""
        : `${all.length} parked message(s), the last one because: ${last.reason}`;
    },
    stop() {
      stopped = true;
      timer?.cancel();
    },
  };
}
