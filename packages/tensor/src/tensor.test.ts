import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesPerElement, createTypedArray, DTYPES, elementCount, holds, scalar, tensor } from "./index.ts";

describe("tensors", () => {
  it("hold exactly as many elements as their shape says", () => {
    fc.assert(
      fc.property(fc.constantFrom(...DTYPES), fc.array(fc.nat(4), { maxLength: 4 }), (dtype, shape) => {
        const made = tensor(dtype, shape);
        expect(made.data).toHaveLength(elementCount(shape));
        expect(made.data.byteLength).toBe(elementCount(shape) * bytesPerElement(dtype));
        expect(holds(made.data, dtype)).toBe(true);
      }),
    );
  });

  it("are views where a buffer is given", () => {
    const whole = new Float32Array([1, 2, 3, 4]);
    const view = createTypedArray("float32", 2, whole.buffer, 4);
    view[0] = 9;
    expect([...whole]).toEqual([1, 9, 3, 4]);
  });

  it("refuse what does not fit, with the reason", () => {
    expect(() => tensor("float32", [2, 2], new Float32Array(3))).toThrow(
      /shape \[2, 2\] needs 4 elements, got 3/,
    );
    expect(() => tensor("int32", [1], new Float32Array(1) as never)).toThrow(
      /Float32Array does not hold int32/,
    );
    for (const size of [-1, 1.5, Number.NaN, 2 ** 60]) {
      expect(() => elementCount([2 ** 10, size])).toThrow(/TENSOR_SHAPE/);
    }
  });

  it("may have no dimensions", () => {
    expect(scalar(3)).toEqual({ dtype: "float32", shape: [], data: Float32Array.of(3) });
  });
});
