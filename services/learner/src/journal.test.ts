/** T3: a resumed run's record holds what its checkpoint knows, and each thing once. */
import { existsSync, readFileSync, readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { parseMetrics, parseSamples } from "@oarlock/report";
import type { EvaluationTime, MetricsRecord, SampleRecord } from "@oarlock/report";
import { START } from "@oarlock/run";
import type { Position } from "@oarlock/run";
import { temporaryFolder } from "@oarlock/testkit";
import { expect, test } from "vitest";
import { openJournal } from "./journal.ts";

const stages = ["rm", "tune"];
const policyDigest = "d";

const record = (stage: string, step: number, globalStep: number, when?: EvaluationTime): MetricsRecord => {
  const facts = { stage, step, globalStep, policyVersion: globalStep, policyDigest, timeMs: 1, metrics: {} };
  return when === undefined ? { kind: "step", ...facts } : { kind: "evaluation", when, ...facts };
};
const sampleOf = ({ kind, stage, step, policyVersion, when }: MetricsRecord): SampleRecord => {
  const text = { prompt: "p", completion: "c", rewards: {}, total: 0, finishReason: "stop" };
  const sample = { stage, step, policyVersion, promptIndex: 0, sample: 0, ...text };
  return kind === "step" ? { kind: "rollout", ...sample } : { kind, ...(when && { when }), ...sample };
};

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

/** A policy with the number of the last one evaluated. */
const at = (stage: number, step: number, [policy, evaluatedPolicy]: readonly [number, number]): Position => ({
  ...START,
  begun: true,
  stage,
  step,
  policy,
  evaluatedPolicy,
});
const between = (position: Position): Position => ({ ...position, begun: false });

test.runIf(existsSync("/dev/full"))("X1: a full disk is said by name, with the file", async () => {
  for (const name of ["metrics.jsonl", "samples.jsonl"]) {
    const folder = temporaryFolder();
    symlinkSync("/dev/full", join(folder, name));
    const journal = await openJournal(folder, undefined);
    const write = async () => {
      await journal.metrics(record("tune", 1, 1));
      await journal.samples([sampleOf(record("tune", 1, 1))]);
    };
    const message = `[CHECKPOINT_DISK_FULL] writing ${join(folder, name)}: the disk is full (ENOSPC)`;
    await expect(write()).rejects.toThrow(message);
    await Promise.resolve(journal[Symbol.asyncDispose]()).catch(() => undefined); // such a disk syncs nothing
  }
});

test.each<[string, Position | undefined, number]>([
  ["none", undefined, 0],
  ["a reward model that is not evaluated", at(0, 2, [2, -1]), 2],
  ["one that is", at(0, 2, [2, 2]), 3],
  ["between two stages", between(at(1, 0, [2, -1])), 3],
  ["before the evaluation at a stage's start", at(1, 0, [2, -1]), 3],
  ["after it", at(1, 0, [2, 2]), 4],
  ["before the evaluation of a step", at(1, 1, [3, 2]), 5],
  ["after it", at(1, 1, [3, 3]), 6],
  ["before the last evaluation", at(1, 2, [4, 3]), 7],
  ["after everything", between(at(2, 0, [4, 4])), 8],
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
