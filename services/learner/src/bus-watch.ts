/**
 * What lies on the bus, looked at every few seconds: a status answers at once with what was seen last, also while the bus
 * is gone (P1). Poison is told once, by its reason.
 */
import type { Bus, ParkedMessage, StreamInfo } from "@oarlock/bus";
import type { Clock, Log, Timer } from "@oarlock/runtime";
import { heldUp } from "./held-up.ts";
import type { Place } from "./held-up.ts";

export interface BusWatch {
  /** Depth of every stream, and what lies before each of its readers, with the age of the stream's oldest message. */
  queues(): {
    readonly name: string;
    readonly depth: number;
    readonly capacity: number;
    readonly oldestMs?: number;
  }[];
  /** Of each stream that has any, how many messages are parked, and the reason of the last one by its sequence; or "". */
  parked(): string;
  /** Where the groups are held up, or "" where nothing on the bus says so. */
  heldUp(): string;
  stop(): void;
}

const EVERY_MS = 2_000;

/** Whose reader takes what, by the consumer's name. */
export type Readers = ReadonlyMap<string, Pick<Place, "who" | "what" | "mayTake">>;

/** What the learner has not taken yet is nothing that it waits for. */
export const OWN_READER = { who: "the learner", what: "scored groups" } as const;

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
  const places = (): Place[] =>
    seen.flatMap(({ consumers, oldestMs = 0 }) =>
      consumers.flatMap((reader) => {
        const place = readers.get(reader.name);
        return place === undefined ? [] : [{ ...place, reader, oldestMs }];
      }),
    );
  return {
    queues: () =>
      seen.flatMap(({ name, messages, oldestMs, consumers }) => {
        const capacity = capacities.get(name) ?? messages;
        const age = oldestMs === undefined ? {} : { oldestMs };
        const before = consumers.flatMap(({ name: reader, pending, ackPending }) => {
          const place = readers.get(reader);
          if (place === undefined) return [];
          return [{ name: `${place.what} at ${place.who}`, depth: pending + ackPending, capacity, ...age }];
        });
        return [{ name: `messages in ${name}`, depth: messages, capacity, ...age }, ...before];
      }),
    parked: () =>
      seen
        .flatMap(({ name, parked }) => {
          const last = parked.at(-1);
          if (last === undefined) return [];
          return `parked messages of ${name}: ${parked.length}, the last one is ${last.sequence}: ${last.reason}`;
        })
        .join("; "),
    heldUp() {
      const others = places().filter(({ who }) => who !== OWN_READER.who);
      return heldUp({ silentMs: clock.monotonicMs() - heardMs, places: others });
    },
    stop() {
      stopped = true;
      timer?.cancel();
    },
  };
}
