/** Event files: framing, checksums and fields, checked by reading them back; tests/conformance uses TensorBoard itself. */
import { describe, expect, it } from "vitest";
import { crc32c, maskedCrc32c } from "./crc32c.ts";
import { eventFileHeader, eventFileName, scalarRecord, sessionStart } from "./events.ts";

const ascii = (text: string) => new TextEncoder().encode(text);

/** The data of each record, after its checksums were verified. */
function unframe(bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const records: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = Number(view.getBigUint64(at, true));
    const data = bytes.subarray(at + 12, at + 12 + length);
    expect(view.getUint32(at + 8, true)).toBe(maskedCrc32c(bytes.subarray(at, at + 8)));
    expect(view.getUint32(at + 12 + length, true)).toBe(maskedCrc32c(data));
    records.push(data);
    at += 16 + length;
  }
  return records;
}

describe("event files", () => {
  it("has the checksums of RFC 3720 and of the TFRecord format", () => {
    expect(crc32c(ascii("123456789"))).toBe(0xe3069283);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
    expect(maskedCrc32c(ascii("123456789"))).toBe(
      (((0xe3069283 >>> 15) | (0xe3069283 << 17)) + 0xa282ead8) >>> 0,
    );
  });

  it("starts with the version record", () => {
    const [data] = unframe(eventFileHeader(1_500));
    expect(data).toEqual(
      Uint8Array.from([0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0x1a, 13, ...ascii("brain.Event:2")]),
    );
  });

  it("writes step and scalars as Event and Summary say", () => {
    const [data] = unframe(scalarRecord({ wallTimeMs: 0, step: 300, scalars: { ab: 1 } }));
    const value = [0x0a, 9, 0x0a, 2, ...ascii("ab"), 0x15, 0, 0, 0x80, 0x3f];
    expect(data).toEqual(
      Uint8Array.from([0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0xac, 0x02, 0x2a, value.length, ...value]),
    );
  });

  it("says where a sitting starts as Event and SessionLog say", () => {
    const [data] = unframe(sessionStart({ wallTimeMs: 0, step: 5 }));
    expect(data).toEqual(Uint8Array.from([0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 5, 0x3a, 2, 0x08, 1]));
  });

  it("keeps steps exact beyond 32 bits", () => {
    const [data] = unframe(scalarRecord({ wallTimeMs: 0, step: 2 ** 40, scalars: {} }));
    expect(data?.subarray(9, 17)).toEqual(Uint8Array.from([0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20, 0x2a]));
  });

  it("is named as TensorBoard expects", () => {
    expect(eventFileName(1_700_000_000_123, "host")).toBe("events.out.tfevents.1700000000.host");
  });
});
