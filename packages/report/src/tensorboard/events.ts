/**
 * TensorBoard event files: records of TFRecord framing, each an `Event` protobuf with scalars.
 *
 * A record is `uint64 length | masked CRC of the length | data | masked CRC of the data`, little-endian. Pure: bytes
 * out, appended to a file by the caller. TensorBoard reads them back in tests/conformance.
 */
import { maskedCrc32c } from "./crc32c.ts";
import { doubleField, floatField, int64Field, messageField, stringField } from "./protobuf.ts";

/** Field numbers of tensorboard/compat/proto/event.proto and summary.proto. */
const EVENT = { wallTime: 1, step: 2, fileVersion: 3, summary: 5, sessionLog: 7 } as const;
const SUMMARY = { value: 1 } as const;
const VALUE = { tag: 1, simpleValue: 2 } as const;
const SESSION_LOG = { status: 1 } as const;
/** Of SessionLog.SessionStatus. */
const START = 1;

export interface ScalarEvent {
  readonly wallTimeMs: number;
  readonly step: number;
  readonly scalars: Readonly<Record<string, number>>;
}

/** The record that every event file starts with. */
export function eventFileHeader(wallTimeMs: number): Uint8Array {
  return frame([
    ...doubleField(EVENT.wallTime, wallTimeMs / 1000),
    ...stringField(EVENT.fileVersion, "brain.Event:2"),
  ]);
}

/** One record with all scalars of a step. */
export function scalarRecord({ wallTimeMs, step, scalars }: ScalarEvent): Uint8Array {
  const values = Object.entries(scalars).flatMap(([tag, value]) =>
    messageField(SUMMARY.value, [...stringField(VALUE.tag, tag), ...floatField(VALUE.simpleValue, value)]),
  );
  return frame([
    ...doubleField(EVENT.wallTime, wallTimeMs / 1000),
    ...int64Field(EVENT.step, step),
    ...messageField(EVENT.summary, values),
  ]);
}

/** The record behind which steps begin at `step`: of a sitting before, TensorBoard forgets that step and all after it. */
export function sessionStart({ wallTimeMs, step }: Pick<ScalarEvent, "wallTimeMs" | "step">): Uint8Array {
  return frame([
    ...doubleField(EVENT.wallTime, wallTimeMs / 1000),
    ...int64Field(EVENT.step, step),
    ...messageField(EVENT.sessionLog, int64Field(SESSION_LOG.status, START)),
  ]);
}

/** Name of an event file as TensorBoard looks for it. */
export function eventFileName(wallTimeMs: number, host: string): string {
  const seconds = Math.floor(wallTimeMs / 1000)
    .toString()
    .padStart(10, "0");
  return `events.out.tfevents.${seconds}.${host}`;
}

function frame(content: readonly number[]): Uint8Array {
  const data = Uint8Array.from(content);
  const record = new Uint8Array(8 + 4 + data.length + 4);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedCrc32c(record.subarray(0, 8)), true);
  record.set(data, 12);
  view.setUint32(12 + data.length, maskedCrc32c(data), true);
  return record;
}
