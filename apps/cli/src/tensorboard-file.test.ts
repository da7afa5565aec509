import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  eventFileHeader,
  eventFileName,
  type MetricsRecord,
  scalarRecord,
  sessionStart,
} from "@oarlock/report";
import { expect, it, onTestFinished } from "vitest";
import { openTensorboardFile } from "./tensorboard-file.ts";

const starts = (step: number) => sessionStart({ wallTimeMs: 0, step });
const scalars = (step: number) => scalarRecord({ wallTimeMs: 0, step, scalars: { "sft/train/loss": 1 } });

it.each([
  ["a step", [step(1), step(2)], [starts(1), scalars(1), scalars(2)]],
  ["an evaluation of the weights before it", [evaluation(4), step(5)], [starts(5), scalars(4), scalars(5)]],
  ["an evaluation before any step", [evaluation(0), step(1)], [starts(0), scalars(0), scalars(1)]],
  [
    "a step, and goes back when another process takes over",
    [step(5), step(6), evaluation(6), step(5)],
    [starts(5), scalars(5), scalars(6), scalars(6), starts(5), scalars(5)],
  ],
])("a sitting that begins with %s supersedes what others wrote from there on", async (_, records, events) => {
  const home = mkdtempSync(join(tmpdir(), "oarlock-tensorboard-"));
  onTestFinished(() => rmSync(home, { recursive: true }));
  const file = await openTensorboardFile(home, 0, "host");
  for (const record of records) file.append(record);
  await file.close();
  expect(readFileSync(join(home, eventFileName(0, "host")))).toEqual(
    Buffer.concat([eventFileHeader(0), ...events]),
  );
});

it("what cannot be written ends the file, as its end says, and not the process", async () => {
  const home = mkdtempSync(join(tmpdir(), "oarlock-tensorboard-"));
  onTestFinished(() => rmSync(home, { recursive: true }));
  const folder = join(home, "events");
  const file = await openTensorboardFile(folder, 0, "host");
  file.append(step(1));
  await sleep(50); // the file is there
  rmSync(folder, { recursive: true });
  file.append(step(1));
  await sleep(50); // a rejection that nobody handles is told by now, and fails this test
  file.append(step(1));
  await expect(file.close()).rejects.toMatchObject({ code: "ENOENT" });
});

function step(globalStep: number): MetricsRecord {
  const policy = { policyVersion: globalStep, policyDigest: "d" };
  const metrics = { "train/loss": 1 };
  return { kind: "step", stage: "sft", step: globalStep, globalStep, ...policy, timeMs: 0, metrics };
}

function evaluation(globalStep: number): MetricsRecord {
  return { ...step(globalStep), kind: "evaluation", when: "step" };
}
