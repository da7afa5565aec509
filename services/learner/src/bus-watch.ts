/**
 * What lies on the bus, looked at every few seconds: a status answers at once with what was seen last, also while the bus
 * is gone (P1). Poison is told once, by its reason.
 */
import type { Bus, ParkedMessage, StreamInfo } from "@oarlock/bus";
import type { Clock, Log, Timer } from "@oarlock/runtime";
import { heldUp } from "./held-up.ts";
import type { Place } from "./held-up.ts";

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
  /** Where the groups are held up, or "" where nothing on the bus says so. */
  heldUp(): string;
  stop(): void;
}

const EVERY_MS = 2_000;

/** Whose reader takes what, by the consumer's name. The learner's own is not a place that it waits for. */
export type Readers = ReadonlyMap<string, Pick<Place, "who" | "what">>;

/** Watches the streams that `bus` has opened; `capacities` by stream name. */
export function watchBus(options: {
  readonly bus: Pick<Bus, "info">;
  readonly capacities: ReadonlyMap<string, number>;
  readonly readers: Readers;
  /** Hears of every parked message once. */
  readonly onParked: (message: ParkedMessage) => void;
  readonly clock: Clock;
  readonly log: Log;
}): BusWatch {
  const { bus, capacities, readers, onParked, clock, log } = options;
  let seen: readonly StreamInfo[] = [];
  let heardMs = clock.monotonicMs();
  let stopped = false;
  let timer: Timer | undefined;
  const told = new Set<string>();
  const look = async (): Promise<void> => {
    const answer = await bus.info().catch(() => undefined);
    if (answer !== undefined) [seen, heardMs] = [answer, clock.monotonicMs()];
    for (const { name, parked } of seen) {
      for (const message of parked) {
        const { sequence, reason } = message;
        if (told.has(`${name}/${sequence}`)) continue;
        told.add(`${name}/${sequence}`);
        log.error("a message is parked", { stream: name, sequence, reason });
        onParked(message);
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
    heldUp() {
      const places = seen.flatMap(({ consumers, oldestMs = 0 }) =>
        consumers.flatMap((reader) => {
          const place = readers.get(reader.name);
          return place === undefined ? [] : [{ ...place, reader, oldestMs }];
        }),
      );
      return heldUp({ silentMs: clock.monotonicMs() - heardMs, places });
    },
    stop() {
      stopped = true;
      timer?.cancel();
    },
  };
}
