/** Shared memory that nobody holds is given back while more is allocated: V8 alone would keep all of it. */
import { memoryUsage } from "node:process";
import { expect, test } from "vitest";
import { bytesOf, createHasher } from "./digest.ts";
import { sharedMemory } from "./shared-memory.ts";

const MIB = 1024 * 1024;

test("dead shared memory does not pile up", () => {
  const before = memoryUsage().arrayBuffers;
  let most = 0;
  for (let allocated = 0; allocated < 2048; allocated += 64) {
    sharedMemory(64 * MIB);
    most = Math.max(most, memoryUsage().arrayBuffers - before);
  }
  expect(most).toBeLessThanOrEqual(512 * MIB);
});

test("shared memory that somebody holds stays, and is zeroed", () => {
  const held = new Uint8Array(sharedMemory(MIB)).fill(7);
  for (let round = 0; round < 8; round++) expect(new Uint8Array(sharedMemory(64 * MIB))[0]).toBe(0);
  expect(held.every((byte) => byte === 7)).toBe(true);
});

test("the hash worker does not hold what it has read", async () => {
  await using hasher = createHasher();
  const before = memoryUsage().arrayBuffers;
  let most = 0;
  for (let read = 0; read < 1280; read += 64) {
    await hasher.update(bytesOf(new Uint8Array(sharedMemory(64 * MIB))));
    most = Math.max(most, memoryUsage().arrayBuffers - before);
  }
  expect(most).toBeLessThanOrEqual(768 * MIB);
});
