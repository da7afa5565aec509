/** T3: a resumed run's record holds what its checkpoint knows, and each thing once. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parseMetrics, parseSamples } from "@oarlock/report";
import type { EvaluationTime, MetricsRecord, SampleRecord } from "@oarlock/report";
import type { Position } from "@oarlock/run";
import { temporaryFolder } from "@oarlock/testkit";
import { expect, test } from "vitest";
import { openJournal } from "./journal.ts";

const stages = ["rm", "tune"];
const policyDigest = "d";

const record = (stage: string, step: number, globalStep: number, when?: EvaluationTime): MetricsRecord => ({
  kind: when === undefined ? "step" : "evaluation",
  ...(when === undefined ? {} : { when }),
  ...{ stage, step, globalStep, policyVersion: globalStep, policyDigest, timeMs: 1, metrics: {} },
});
const sampleOf = ({ kind, stage, step, policyVersion, when }: MetricsRecord): SampleRecord => ({
  kind: kind === "step" ? "rollout" : kind,
  ...(when === undefined ? {} : { when }),
  ...{ stage, step, policyVersion, promptIndex: 0, sample: 0, prompt: "p", completion: "c" },
  ...{ rewards: {}, total: 0, finishReason: "stop" },
});

/** A reward model of two steps, and two steps of the policy: evaluated before, between and after. */
const written = [
  record("rm", 1, 1),
  record("rm", 2, 2),
  record("rm", 2, 2, "after"),
  record("tune", 0, 2, "before"),
  record("tune", 1, 3),
  record("tune", 1, 3, "step"),
  record("tune", 2, 4),
  record("tune", 2, 4, "after"),
];

const at = (
  stage: number,
  step: number,
  policy: number,
  evaluatedPolicy: number,
  begun = true,
): Position => ({
  ...{ stage, step, policy, begun, evaluatedPolicy, checkpointedPolicy: -1 },
});

test.each<[string, Position | undefined, number]>([
  ["none", undefined, 0],
  ["a reward model that is not evaluated", at(0, 2, 2, -1), 2],
  ["one that is", at(0, 2, 2, 2), 3],
  ["between two stages", at(1, 0, 2, -1, false), 3],
  ["before the evaluation at a stage's start", at(1, 0, 2, -1), 3],
  ["after it", at(1, 0, 2, 2), 4],
  ["before the evaluation of a step", at(1, 1, 3, 2), 5],
  ["after it", at(1, 1, 3, 3), 6],
  ["before the last evaluation", at(1, 2, 4, 3), 7],
  ["after everything", at(2, 0, 4, 4, false), 8],
])("continued from a checkpoint at %s, what comes after it is made again", async (_, position, count) => {
  const folder = temporaryFolder();
  {
    await using journal = await openJournal(folder, undefined);
    for (const one of written) await journal.metrics(one);
    await journal.samples(written.map(sampleOf));
  }
  await (await openJournal(folder, { position, stages }))[Symbol.asyncDispose]();
  const text = (name: string): string => readFileSync(join(folder, name), "utf8");
  const kept = written.slice(0, count);
  expect(parseMetrics(text("metrics.jsonl"))).toEqual(kept);
  expect(parseSamples(text("samples.jsonl"))).toEqual(kept.map(sampleOf));
  expect(readdirSync(folder).toSorted()).toEqual(["metrics.jsonl", "samples.jsonl"]);
});
