/** Process rewards in whole runs: a reward model of the run that scores the steps of a completion. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RunEvent } from "@oarlock/cli/local";
import { startLocalRun } from "@oarlock/cli/local";
import { parseMetrics } from "@oarlock/report";
import { afterAll, expect, test } from "vitest";
import { BRANCH, rlhfPlan, writePairs } from "./rlhf-plan.ts";

const folders: string[] = [];
afterAll(async () => {
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
});

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "oarlock-process-"));
  folders.push(folder);
  writePairs(folder);
  return folder;
}

/** PPO and GRPO against the reward model; its stages' digests. */
async function digests(model: string, folder: string, dieAt?: number): Promise<readonly string[]> {
  const set = ["ppo.ppo", "branch.grpo"].map(
    (block) => `stages.${block}.rewards=[{name: preferred, type: model, model: {from: stage/rm${model}}}]`,
  );
  const plan = await rlhfPlan(folder, set, BRANCH);
  const run = { outDir: folder, baseDir: folder, uid: "process", resume: false };
  if (dieAt !== undefined) {
    let reach: () => void = () => undefined;
    const reached = new Promise<void>((resolve) => (reach = resolve));
    const onEvent = (event: RunEvent): void => {
      if (event.type === "step" && event.globalStep === dieAt) reach();
    };
    const dying = await startLocalRun(plan, { ...run, onEvent });
    await reached;
    await dying.abandon();
  }
  const local = await startLocalRun(plan, { ...run, resume: dieAt !== undefined });
  expect(await local.finished).toMatchObject({ status: "completed" });
  const steps = parseMetrics(await readFile(join(folder, "metrics.jsonl"), "utf8")).filter(
    ({ kind, stage }) => kind === "step" && (stage === "ppo" || stage === "branch"),
  );
  expect(steps.map(({ metrics }) => metrics["reward/failed_fraction"])).toEqual(steps.map(() => 0));
  return steps.map(({ policyDigest }) => policyDigest);
}

test("D1, T3: PPO and GRPO learn from a reward model's scores of steps, also after a death", async () => {
  const steps = ", scope: step, stepEnd: '1'";
  const whole = await digests(steps, await newFolder());
  expect(new Set(whole).size).toBe(7);
  expect(await digests(steps, await newFolder(), 13)).toEqual(whole);
  const outcome = await digests("", await newFolder());
  for (const [i, digest] of outcome.entries()) expect(whole[i]).not.toBe(digest);
});

test("where nothing ends a step, the whole completion is one, and PPO learns the same bits", async () => {
  const one = await digests(", scope: step", await newFolder());
  expect(one.slice(0, 5)).toEqual((await digests("", await newFolder())).slice(0, 5));
});
