import { fc, test } from "@fast-check/vitest";
import { describe, expect } from "vitest";
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from "./half.ts";

const float16 = (value: number): number => float32ToFloat16(Float32Array.of(value))[0] ?? -1;

describe("float16", () => {
  test("every bit pattern survives the way to float32 and back", () => {
    const patterns = Uint16Array.from({ length: 0x10000 }, (_, i) => i);
    const back = float32ToFloat16(float16ToFloat32(patterns));
    const isNaNPattern = (bits: number): boolean => (bits & 0x7c00) === 0x7c00 && (bits & 0x3ff) !== 0;
    const changed = Array.from(back.keys()).filter((bits) => !isNaNPattern(bits) && back[bits] !== bits);
    expect(changed).toEqual([]);
  });

  test("known values", () => {
    expect([1, -2, 65504, 2 ** -24, 0.1].map(float16)).toEqual([0x3c00, 0xc000, 0x7bff, 1, 0x2e66]);
    expect(float16(65520)).toBe(0x7c00); // halfway above the largest: infinity
    expect(float16(Number.NaN) & 0x7fff).toBe(0x7e00);
  });

  test.prop([fc.float({ noNaN: true, min: -65000, max: 65000 })])(
    "rounds to one of the two neighbours",
    (value) => {
      const rounded = float16ToFloat32(Uint16Array.of(float16(value)))[0] ?? Number.NaN;
      expect(Math.abs(rounded - value)).toBeLessThanOrEqual(Math.max(Math.abs(value) * 2 ** -11, 2 ** -25));
    },
  );
});

test.prop([
  fc.float({ noNaN: true, noDefaultInfinity: true, min: Math.fround(-1e38), max: Math.fround(1e38) }),
])("bfloat16 keeps eight bits of precision", (value) => {
  const back = bfloat16ToFloat32(float32ToBfloat16(Float32Array.of(value)))[0] ?? Number.NaN;
  expect(Math.abs(back - value)).toBeLessThanOrEqual(Math.abs(value) * 2 ** -8 + 1e-40);
});
