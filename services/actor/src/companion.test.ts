/** A companion: whoever only asks that a version is held does not wait behind the passes of others. */
import { silentTelemetry } from "@oarlock/runtime";
import { expect, test } from "vitest";
import { createCompanion } from "./companion.ts";

test("work by a version that is held does not wait for the pass under way, and holding keeps the one used last", async () => {
  const [first, second, third] = [0, 1, 2].map((number) => ({ number, digest: `${number}` })) as [
    { number: number; digest: string },
    { number: number; digest: string },
    { number: number; digest: string },
  ];
  const fetched: number[] = [];
  let passes = 0;
  let finish: (values: Float32Array[]) => void = () => undefined;
  const pass = new Promise<Float32Array[]>((resolve) => {
    finish = resolve;
  });
  const nothing = async (): Promise<void> => undefined;
  const companion = createCompanion({
    name: "critic",
    gives: "values",
    source: {
      fetch: async ({ number }) => {
        fetched.push(number);
        return Float32Array.of(number);
      },
    },
    open: async () => ({
      perToken: () => {
        passes++;
        return pass;
      },
      load: nothing,
      close: nothing,
      [Symbol.asyncDispose]: nothing,
    }),
    microBatchSizeOf: () => 1,
    capacity: 2,
    tracer: silentTelemetry.tracer,
  });
  const { signal } = new AbortController();
  await companion.ensure(first, signal);
  await companion.ensure(second, signal);
  const judged = { completed: [], stage: 0, temperature: 1 };
  const values = companion.perToken(second, judged, signal);
  await expect.poll(() => passes).toBe(1);
  await companion.ensure(first, signal);
  finish([Float32Array.of(5)]);
  expect(await values).toEqual([Float32Array.of(5)]);
  await companion.ensure(third, signal);
  await companion.ensure(first, signal);
  expect(fetched).toEqual([0, 1, 2]);
});
