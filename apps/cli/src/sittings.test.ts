/** The time of a run is that of all its sittings, whatever ended them. */
import { writeFileSync } from "node:fs";
import { metricsLine } from "@oarlock/report";
import { temporaryFolder } from "@oarlock/testkit";
import { expect, test } from "vitest";
import { readRecords, type RunPaths, runPaths } from "./run-folder.ts";
import { beginSitting, endSitting, secondsSoFar } from "./sittings.ts";

const temporaryPaths = (): RunPaths => runPaths(temporaryFolder("sittings"));

const secondsOf = async (paths: RunPaths, nowMs?: number): Promise<number> =>
  secondsSoFar(paths, await readRecords(paths), nowMs);

const recordAt = (timeMs: number): string =>
  metricsLine({
    kind: "step",
    stage: "sft",
    step: 1,
    globalStep: 1,
    policyVersion: 1,
    policyDigest: "d",
    timeMs,
    metrics: {},
  });

test("a sitting that was killed counts until its last record, after those before it", async () => {
  const paths = temporaryPaths();
  expect(await secondsOf(paths)).toBe(0);
  await beginSitting(paths, { startedMs: 10_000, earlierSeconds: 5 });
  expect(await secondsOf(paths)).toBe(5);
  writeFileSync(paths.metrics, recordAt(9_000)); // of a sitting before
  expect(await secondsOf(paths)).toBe(5);
  writeFileSync(paths.metrics, recordAt(12_500));
  expect(await secondsOf(paths)).toBe(7.5);
  expect(await secondsOf(paths, 14_000)).toBe(9);
});

test("of a sitting that ended the summary says it", async () => {
  const paths = temporaryPaths();
  await beginSitting(paths, { startedMs: 10_000, earlierSeconds: 5 });
  writeFileSync(paths.metrics, recordAt(12_500));
  writeFileSync(paths.summary, JSON.stringify({ seconds: 8 }));
  await endSitting(paths);
  expect(await secondsOf(paths)).toBe(8);
});
