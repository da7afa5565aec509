import { openOrt, type OrtRuntime } from "@oarlock/ort";
import { afterAll, beforeAll, expect, it } from "vitest";
import { KeyValueCache } from "./cache.ts";
import { paddedHeadSize } from "./packed-weights.ts";
import { storageOf } from "./storage.ts";
import { tinyConfig } from "./testing.ts";

let ort: OrtRuntime;
beforeAll(async () => {
  ort = await openOrt({ threads: 1 });
});
afterAll(() => ort.close());

it.each([false, true])(
  "a row that is moved begins with what the other held, long moves %s",
  (prefersLongMoves) => {
    const cache = new KeyValueCache(tinyConfig, { ...storageOf(ort), prefersLongMoves });
    cache.reserve({ rows: 4, length: 20, limit: 64 });
    const perBuffer = 9 * tinyConfig.kvHeads * paddedHeadSize(tinyConfig);
    const sequence = (first: number) => ({
      memory: Array.from({ length: 2 * tinyConfig.layers }, (_, buffer) =>
        Float32Array.from({ length: perBuffer }, (__, i) => first + 1000 * buffer + i),
      ),
      release: () => undefined,
    });
    const held = (row: number) => cache.read({ row, capacity: cache.capacity, length: 9 }).memory;
    [1, 2, 3].forEach((row) => cache.write(row, sequence(row * 1e5), 9));
    cache.move(3, 0, 9);
    cache.move(2, 1, 9);
    expect([0, 1, 2, 3].map(held)).toEqual([3, 2, 2, 3].map((row) => sequence(row * 1e5).memory));
  },
);
