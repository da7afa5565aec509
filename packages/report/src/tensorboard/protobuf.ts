/** The few protobuf wire forms that an Event needs: a writer for messages of under a kilobyte. Knows no schema. */

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

const encoder = new TextEncoder();

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  return [...bytes, rest];
}

const key = (field: number, wire: number) => varint(field * 8 + wire);

/** A non-negative int64 field; exact to 2^53. */
export function int64Field(field: number, value: number): number[] {
  return [...key(field, VARINT), ...varint(value)];
}

/** A double field. */
export function doubleField(field: number, value: number): number[] {
  return [...key(field, FIXED64), ...new Uint8Array(Float64Array.of(value).buffer)];
}

/** A float field. */
export function floatField(field: number, value: number): number[] {
  return [...key(field, FIXED32), ...new Uint8Array(Float32Array.of(value).buffer)];
}

/** A string field. */
export function stringField(field: number, value: string): number[] {
  return messageField(field, [...encoder.encode(value)]);
}

/** A nested message, or bytes. */
export function messageField(field: number, content: readonly number[]): number[] {
  return [...key(field, BYTES), ...varint(content.length), ...content];
}
