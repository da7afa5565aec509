/** The bus as the learner sees it: what waits in each stage, what is out, what was delivered again, what was parked. */
import type { Bus, StreamInfo } from "@oarlock/bus";
import { waitFor } from "@oarlock/runtime";
import type { Instrument, Measurement, Meter } from "@oarlock/runtime";

type InstrumentName = "pending" | "unacknowledged" | "redelivered" | "oldest" | "parked" | "bytes";

/** What is measured of the streams of a run. */
export const BUS_INSTRUMENTS: Readonly<Record<InstrumentName, Instrument>> = {
  pending: {
    name: "oarlock.bus.messages.pending",
    kind: "gauge",
    unit: "{message}",
    description: "Not delivered yet, by stage: the number to scale actors and reward workers by",
    attributes: ["consumer"],
  },
  unacknowledged: {
    name: "oarlock.bus.messages.unacknowledged",
    kind: "gauge",
    unit: "{message}",
    description: "Delivered and not yet acknowledged",
    attributes: ["consumer"],
  },
  redelivered: {
    name: "oarlock.bus.messages.redelivered",
    kind: "counter",
    unit: "{message}",
    description: "Deliveries after the first",
    attributes: ["consumer"],
  },
  oldest: {
    name: "oarlock.bus.oldest.age",
    kind: "gauge",
    unit: "s",
    description: "Age of the oldest message that a stream holds; 0 of an empty one",
    attributes: ["stream"],
  },
  parked: {
    name: "oarlock.bus.messages.parked",
    kind: "gauge",
    unit: "{message}",
    description: "Poison messages that are kept with their reason",
    attributes: ["stream"],
  },
  bytes: {
    name: "oarlock.bus.stored",
    kind: "gauge",
    unit: "By",
    description: "Bytes of data that a stream holds",
    attributes: ["stream"],
  },
};

/** A bus that does not answer must not hold up the other numbers. */
const TIMEOUT_MS = 1_000;

/** Reads the streams at every collection; once for all instruments of it. */
export function observeBus(meter: Meter, bus: Pick<Bus, "info">, uid: string): void {
  let asked: Promise<readonly StreamInfo[]> | undefined;
  const streams = (): Promise<readonly StreamInfo[]> => {
    asked ??= waitFor("the bus to say what it holds", () => bus.info(), { timeoutMs: TIMEOUT_MS })
      .catch(() => [])
      .finally(() => setImmediate(() => (asked = undefined)));
    return asked;
  };
  // Without the run: the names stay the same from run to run.
  const short = (name: string): string => name.replace(`OARLOCK_${uid}_`, "").toLowerCase();
  const byStream = (instrument: Instrument, value: (stream: StreamInfo) => number): void =>
    meter.observe(instrument, async () =>
      (await streams()).map((stream) => ({
        value: value(stream),
        attributes: { stream: short(stream.name) },
      })),
    );
  const byConsumer = (
    instrument: Instrument,
    value: (consumer: StreamInfo["consumers"][number]) => number,
  ): void =>
    meter.observe(instrument, async () =>
      (await streams()).flatMap(({ consumers }) =>
        consumers.map((consumer): Measurement => ({
          value: value(consumer),
          attributes: { consumer: consumer.name },
        })),
      ),
    );
  byConsumer(BUS_INSTRUMENTS.pending, ({ pending }) => pending);
  byConsumer(BUS_INSTRUMENTS.unacknowledged, ({ ackPending }) => ackPending);
  byConsumer(BUS_INSTRUMENTS.redelivered, ({ redelivered }) => redelivered);
  byStream(BUS_INSTRUMENTS.oldest, ({ oldestMs = 0 }) => oldestMs / 1000);
  byStream(BUS_INSTRUMENTS.parked, ({ parked }) => parked.length);
  byStream(BUS_INSTRUMENTS.bytes, ({ bytes }) => bytes);
}
