/** T3: a kill while a run takes over an earlier one's folder leaves that one as it was. */
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "@oarlock/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { undoTakeover } from "./earlier-run.ts";

const FILES = ["checkpoints/4/manifest.json", "metrics.jsonl", "plan.json", "run.yaml", "summary.json"];
const MOVABLE = ["checkpoints", "metrics.jsonl", "plan.json", "run.yaml", "summary.json"];

/** A folder after one takeover that went well: `earlier/1` is that one's. */
function runFolder(): string {
  const folder = temporaryFolder("earlier");
  for (const path of [...FILES, "artifacts/a.json", "earlier/1/plan.json"]) {
    mkdirSync(join(folder, path, ".."), { recursive: true });
    writeFileSync(join(folder, path), `the earlier run's ${path}`);
  }
  return folder;
}

const content = (folder: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => [
        join(parentPath, name).slice(folder.length),
        readFileSync(join(parentPath, name), "utf8"),
      ]),
  );

function move(folder: string, names: readonly string[], place: string): void {
  mkdirSync(join(folder, "earlier", place));
  for (const name of names) renameSync(join(folder, name), join(folder, "earlier", place, name));
}

test("while its files are on their way, whichever of them are", async () => {
  await fc.assert(
    fc.asyncProperty(fc.subarray(MOVABLE), async (moved) => {
      const folder = runFolder();
      const before = content(folder);
      move(folder, moved, "2.moving");
      await undoTakeover(folder);
      expect(content(folder)).toEqual(before);
      expect(readdirSync(join(folder, "earlier"))).toEqual(["1"]);
    }),
    { numRuns: 20 },
  );
});

test("while the new run's first files are written, its plan among them", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.subarray(["kept.json", "run.yaml", "plan.json.tmp", "plan.json"]),
      async (written) => {
        const folder = runFolder();
        const before = content(folder);
        move(folder, MOVABLE, "2.replacing");
        mkdirSync(join(folder, "tensorboard"));
        for (const name of written) writeFileSync(join(folder, name), "the new run's");
        await undoTakeover(folder);
        expect(content(folder)).toEqual(before);
        expect(readdirSync(folder)).not.toContain("tensorboard");
      },
    ),
    { numRuns: 10 },
  );
});

test("not once the new run has its plan, nor where there was no takeover", async () => {
  const folder = runFolder();
  move(folder, MOVABLE, "2");
  writeFileSync(join(folder, "plan.json"), "the new run's");
  const before = content(folder);
  await undoTakeover(folder);
  expect(content(folder)).toEqual(before);
  await undoTakeover(join(folder, "nowhere"));
});
