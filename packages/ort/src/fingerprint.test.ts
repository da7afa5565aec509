import { expect, test } from "vitest";
import { instructionSet } from "./fingerprint.ts";

test("D1b: the widest vector extension names the instruction set", () => {
  expect(instructionSet("flags\t\t: fpu sse2 avx avx2 fma\n", "x64")).toBe("x64-avx2");
  expect(instructionSet("flags\t\t: fpu avx avx2 avx512f avx512_vnni\n", "x64")).toBe("x64-avx512vnni");
  expect(instructionSet("Features\t: fp asimd asimddp\n", "arm64")).toBe("arm64-dotprod");
  expect(instructionSet("", "x64")).toBe("x64-baseline");
});
