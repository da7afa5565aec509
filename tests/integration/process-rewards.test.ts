/** Process rewards in whole runs: a reward model of the run that scores the steps of a completion, and one that learns from steps. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RunEvent } from "@oarlock/cli/local";
import { startLocalRun } from "@oarlock/cli/local";
import { type MetricsRecord, parseMetrics } from "@oarlock/report";
import { afterAll, expect, test } from "vitest";
import { BRANCH, rlhfPlan, writePairs, writeSteps } from "./rlhf-plan.ts";

const folders: string[] = [];
afterAll(async () => {
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
});

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "oarlock-process-"));
  folders.push(folder);
  writePairs(folder);
  writeSteps(folder);
  return folder;
}

const recordsOf = async (folder: string): Promise<MetricsRecord[]> =>
  parseMetrics(await readFile(join(folder, "metrics.jsonl"), "utf8"));

interface Ways {
  /** What the reward models' blocks say besides their stage. */
  readonly model: string;
  /** Further `--set` values. */
  readonly set?: readonly string[];
  /** Steps of the run after which it dies and is resumed. */
  readonly deaths?: readonly number[];
}

/** PPO and GRPO against the reward model; the digests of their steps. */
async function digests(folder: string, { model, set = [], deaths = [] }: Ways): Promise<readonly string[]> {
  const rewards = ["ppo.ppo", "branch.grpo"].map(
    (block) => `stages.${block}.rewards=[{name: preferred, type: model, model: {from: stage/rm${model}}}]`,
  );
  const plan = await rlhfPlan(folder, [...set, ...rewards], BRANCH);
  const run = { outDir: folder, baseDir: folder, uid: "process" };
  for (const [died, dieAt] of deaths.entries()) {
    let reach: () => void = () => undefined;
    const reached = new Promise<void>((resolve) => (reach = resolve));
    const onEvent = (event: RunEvent): void => {
      if (event.type === "step" && event.globalStep === dieAt) reach();
    };
    const dying = await startLocalRun(plan, { ...run, resume: died > 0, onEvent });
    await reached;
    await dying.abandon();
  }
  const local = await startLocalRun(plan, { ...run, resume: deaths.length > 0 });
  expect(await local.finished).toMatchObject({ status: "completed" });
  const steps = (await recordsOf(folder)).filter(
    ({ kind, stage }) => kind === "step" && (stage === "ppo" || stage === "branch"),
  );
  expect(steps.map(({ metrics }) => metrics["reward/failed_fraction"])).toEqual(steps.map(() => 0));
  return steps.map(({ policyDigest }) => policyDigest);
}

/** The reward model learns from labelled steps. */
const LABELLED = [
  "loss=binary-cross-entropy",
  "stepEnd=1",
  "data={type: file, file: {path: steps.jsonl}}",
  "steps=200",
  "maxLength=24",
  "optimizer={learningRate: 0.003}",
].map((value) => `stages.rm.reward-model.${value}`);

test("D1, T3: a reward model learns from labelled steps, PPO and GRPO from its scores of steps, also after deaths", async () => {
  const folder = await newFolder();
  const process = { model: ', scope: step, stepEnd: "1"', set: LABELLED };
  const whole = await digests(folder, process);
  const found = (await recordsOf(folder)).find(({ kind, stage }) => kind === "evaluation" && stage === "rm");
  const metrics = found?.metrics ?? {};
  // Two of five steps are right: chance is 0.6, and 0.5 where right and wrong ones count alike.
  expect(metrics["val-core/held-out/rm/accuracy"]).toBeGreaterThan(0.85);
  expect(metrics["val-core/held-out/rm/balanced_accuracy"]).toBeGreaterThan(0.85);
  // Three steps of each answer; the one whose steps cannot be told apart was left out.
  expect(metrics["val-aux/rm/steps"]).toBe(3 * (metrics["val-aux/rm/answers"] ?? Number.NaN));
  expect(metrics["val-aux/rm/answers_of_other_steps"]).toBe(1);

  expect(new Set(whole).size).toBe(7);
  expect(await digests(await newFolder(), { ...process, deaths: [120, 207] })).toEqual(whole);
  const outcome = await digests(await newFolder(), { ...process, model: "" });
  for (const [i, digest] of outcome.entries()) expect(whole[i]).not.toBe(digest);
});

test("where nothing ends a step, the whole completion is one, and PPO learns the same bits", async () => {
  const one = await digests(await newFolder(), { model: ", scope: step" });
  expect(one.slice(0, 5)).toEqual((await digests(await newFolder(), { model: "" })).slice(0, 5));
});
