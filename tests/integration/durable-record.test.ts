/** What a checkpoint counts on is on the disk before it: a host that loses power in between loses no line of the record (T3). */
import { readlinkSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { startLocalRun } from "@oarlock/cli/local";
import { temporaryFolder } from "@oarlock/testkit";
import { expect, onTestFinished, test, vi } from "vitest";
import { additionPlan } from "./addition-plan.ts";

const PLAN = ["stages.sft.sft.steps=4", "stages.grpo.grpo.steps=2", "checkpoints.every=2"];

test.runIf(process.platform === "linux")(
  "T3: the record is synced before each checkpoint, not at each line",
  async () => {
    const outDir = temporaryFolder("durable");
    const record = ["metrics.jsonl", "samples.jsonl"].map((name) => join(outDir, name));
    const checkpoints = join(outDir, "checkpoints");
    const sizes = (): number[] => record.map((path) => statSync(path, { throwIfNoEntry: false })?.size ?? 0);
    const synced = [0, 0];
    const lagging: string[] = [];
    let [written, syncs] = [0, 0];
    // All handles share their methods.
    const probe = await open(outDir);
    const methods = Object.getPrototypeOf(probe) as FileHandle;
    await probe.close();
    const original = Reflect.get(methods, "sync") as (this: FileHandle) => Promise<void>; // as Node declares it
    const watched = vi.spyOn(methods, "sync").mockImplementation(async function (this: FileHandle) {
      const path = readlinkSync(`/proc/self/fd/${this.fd}`);
      const size = sizes();
      await original.call(this);
      const at = record.indexOf(path);
      if (at >= 0) {
        synced[at] = size[at] ?? 0;
        syncs++;
      }
      if (!path.startsWith(checkpoints)) return;
      written++;
      const now = sizes();
      if (now.some((bytes, i) => bytes !== synced[i]))
        lagging.push(`${path}: ${now.join(" + ")} bytes, ${synced.join(" + ")} synced`);
    });
    onTestFinished(() => watched.mockRestore());
    const local = await startLocalRun(additionPlan(PLAN), { outDir, baseDir: outDir });
    expect(await local.finished).toMatchObject({ status: "completed", steps: 6 });
    expect(lagging).toEqual([]);
    expect(written).toBeGreaterThan(0);
    expect(synced).toEqual(sizes());
    // Three checkpoints or four, and the end.
    expect(syncs).toBeLessThanOrEqual(10);
  },
);
