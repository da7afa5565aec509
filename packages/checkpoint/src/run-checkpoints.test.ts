/** T3, F1, X1 of run checkpoints on a real folder. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import fc from "fast-check";
import { openRunCheckpoints, readCheckpoint, readNewestCheckpoint } from "./run-checkpoints.ts";
import type { RunCheckpoints } from "./types.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "checkpoint-test-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const content = (step: number) => ({
  step,
  state: { stage: "grpo", cursor: step * 32, name: "Übung" },
  arrays: { parameters: Float32Array.of(step, Number.NaN, -0, 1e-45), ids: BigInt64Array.of(2n ** 62n) },
});
const open = (options: { keep?: number; resume?: boolean } = {}): Promise<RunCheckpoints> =>
  openRunCheckpoints({ folder, keep: 3, ...options });
const bits = (array: ArrayBufferView) =>
  Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString("hex");

describe("run checkpoints", () => {
  it("T3: a resumed run finds every bit of the newest state", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.float32Array({ maxLength: 50 }),
        fc.uint8Array({ maxLength: 50 }),
        fc.jsonValue(),
        async (floats, bytes, state) => {
          const first = await open();
          const step = 1 + (first.resumed?.step ?? 0);
          const written = await first.write({ step, state, arrays: { floats, bytes } });
          const { resumed } = await open();
          expect(resumed).toMatchObject({ step, path: written.path, digest: written.digest });
          // JSON has one zero.
          expect(JSON.stringify(resumed?.state)).toBe(JSON.stringify(state));
          expect(bits(resumed!.arrays["floats"]!)).toBe(bits(floats));
          expect(bits(resumed!.arrays["bytes"]!)).toBe(bits(bytes));
        },
      ),
      { numRuns: 15 },
    );
  });

  it("T3: arrays that are made in one buffer, each at its turn, are written as they were then", async () => {
    const buffer = new Float32Array(2);
    const turn = (value: number) => ({
      byteLength: buffer.byteLength,
      read: () => Promise.resolve(buffer.fill(value)),
    });
    await (await open()).write({ step: 1, state: {}, arrays: { first: turn(1), second: turn(2) } });
    const { resumed } = await open();
    expect(resumed?.arrays).toEqual({ first: Float32Array.of(1, 1), second: Float32Array.of(2, 2) });
  });

  it("starts fresh in an empty folder, and claims a higher incarnation each time", async () => {
    expect((await open()).resumed).toBeUndefined();
    expect((await open()).incarnation).toBe(2);
    const claims = await Promise.all([open(), open(), open()]);
    expect(new Set(claims.map(({ incarnation }) => incarnation))).toEqual(new Set([3, 4, 5]));
  });

  it.each([
    ["a flipped bit in an array", async (path: string) => flip(join(path, "parameters.bin"))],
    ["a flipped bit in the state", async (path: string) => flip(join(path, "state.json"))],
    ["a flipped bit in the manifest", async (path: string) => flip(join(path, "manifest.json"))],
    ["a truncated array", async (path: string) => truncate(join(path, "parameters.bin"), 3)],
    ["a lost file", async (path: string) => rm(join(path, "ids.bin"))],
    ["a lost manifest", async (path: string) => rm(join(path, "manifest.json"))],
    ["an empty manifest", async (path: string) => truncate(join(path, "manifest.json"), 0)],
  ])("T3: skips %s with a message, and takes the one before", async (_, damage) => {
    const run = await open();
    await run.write(content(10));
    const newest = await run.write(content(20));
    await damage(newest.path);
    const skipped: string[] = [];
    const { resumed } = await openRunCheckpoints({
      folder,
      keep: 3,
      onSkipped: (path, why) => skipped.push(`${path}: ${why}`),
    });
    expect(resumed?.step).toBe(10);
    expect(skipped).toHaveLength(1);
    expect(skipped[0]).toContain(newest.path);
  });

  it("never starts anew by accident: all damaged is an error that names each", async () => {
    const run = await open();
    const only = await run.write(content(10));
    await flip(join(only.path, "state.json"));
    await expect(open()).rejects.toMatchObject({
      code: "CHECKPOINT_NONE_VALID",
      message: expect.stringContaining("state.json"),
    });
    expect((await open({ resume: false })).resumed).toBeUndefined();
  });

  it("T3: what was being written when the process died is never chosen", async () => {
    const run = await open();
    await run.write(content(10));
    const whole = await run.write(content(20));
    // As a crash between the last write and the rename leaves it.
    await rename(whole.path, join(folder, "000001", ".writing-abc"));
    const next = await open();
    expect(next.resumed?.step).toBe(10);
    expect(await readdir(join(folder, "000001"))).not.toContain(".writing-abc");
  });

  it("removes claims that cannot succeed any more, and no other", async () => {
    await open();
    for (const name of [".claiming-1-dead", ".claiming-2-dead", ".claiming-3-next"])
      await mkdir(join(folder, name));
    expect((await open()).incarnation).toBe(2);
    expect((await readdir(folder)).toSorted()).toEqual([".claiming-3-next", "000001", "000002"]);
  });

  it("F1: a superseded learner writes nothing that counts, and deletes nothing that does", async () => {
    const old = await open({ keep: 1 });
    await old.write(content(10));
    const successor = await open({ keep: 1 });
    expect(successor.resumed?.step).toBe(10);
    await expect(old.write(content(20))).rejects.toMatchObject({ code: "CHECKPOINT_FENCED" });
    expect((await open()).resumed?.step).toBe(10);
  });

  it("F1: stopped between its last look and the rename, it changes no successor's past", async () => {
    const old = await open();
    await old.write(content(10));
    const zombies = await old.write(content(20));
    await rename(zombies.path, join(folder, "held")); // not renamed yet
    const successor = await open();
    expect(successor.resumed?.step).toBe(10);
    await rename(join(folder, "held"), zombies.path); // SIGCONT
    expect((await readNewestCheckpoint({ folder }))?.step).toBe(10);
    await successor.write(content(11));
    expect((await open()).resumed).toMatchObject({ step: 11, incarnation: 2 });
  });

  it("keeps the newest, across incarnations, and the same step again as a revision", async () => {
    const first = await open({ keep: 2 });
    for (const step of [1, 2, 3]) await first.write(content(step));
    const second = await open({ keep: 2 });
    const again = { ...content(3), state: "again" };
    await second.write(again);
    expect((await second.list()).map(({ incarnation, step }) => [incarnation, step])).toEqual([
      [2, 3],
      [1, 3],
    ]);
    const revised = await second.write({ ...again, state: "and again" });
    expect((await open()).resumed).toMatchObject({ state: "and again", path: revised.path });
  });

  it("X1: refuses names that leave the folder, and states without a JSON form, and leaves nothing behind", async () => {
    const run = await open();
    const bad = { step: 1, state: {}, arrays: { "../evil": new Uint8Array(1) } };
    await expect(run.write(bad)).rejects.toMatchObject({ code: "CHECKPOINT_NAME_INVALID" });
    await expect(run.write({ step: 1, state: undefined, arrays: {} })).rejects.toMatchObject({
      code: "CHECKPOINT_STATE_INVALID",
    });
    expect(await readdir(join(folder, "000001"))).toEqual(["base.json"]);
  });

  it("hostile: a manifest that claims terabytes is refused by the file's length, before memory is taken", async () => {
    const run = await open();
    const { path } = await run.write(content(1));
    const file = join(path, "manifest.json");
    const value = JSON.parse(await readFile(file, "utf8"));
    value.content.arrays[0].bytes = 2 ** 44;
    const { sha256Hex } = await import("@oarlock/runtime");
    value.digest = sha256Hex(JSON.stringify(value.content));
    await writeFile(file, JSON.stringify(value));
    await expect(readCheckpoint(path)).rejects.toMatchObject({ code: "CHECKPOINT_CORRUPT" });
  });

  it("T3: a full disk gives a clear error, no half checkpoint, and the older one stays", async () => {
    const run = await open();
    await run.write(content(10));
    const script = `
      const { openRunCheckpoints } = await import(${JSON.stringify(new URL("./run-checkpoints.ts", import.meta.url).href)});
      const run = await openRunCheckpoints({ folder: process.argv[2], keep: 1 });
      try {
        await run.write({ step: 20, state: {}, arrays: { parameters: new Float32Array(1 << 20) } });
        console.log("written");
      } catch (reason) { console.log(reason.code, reason.message, (await run.list()).length); }`;
    const file = join(folder, "write.mjs");
    await writeFile(file, script);
    // A limit on file sizes stands for a full disk: a write stops half-way with EFBIG instead of ENOSPC.
    const command = `ulimit -f 256; exec "$0" --conditions=@oarlock/source --import tsx "$1" "$2"`;
    const { stdout } = await promisify(execFile)("bash", ["-c", command, process.execPath, file, folder], {
      cwd: import.meta.dirname,
    });
    expect(stdout).toContain("CHECKPOINT_DISK_FULL");
    expect(stdout).toContain("parameters.bin");
    expect(await readdir(join(folder, "000002"))).toEqual(["base.json"]);
    expect((await readNewestCheckpoint({ folder }))?.step).toBe(10);
  });
});

async function flip(path: string): Promise<void> {
  const bytes = await readFile(path);
  const middle = bytes.length >> 1;
  bytes[middle] = (bytes[middle] ?? 0) ^ 1;
  await writeFile(path, bytes);
}
