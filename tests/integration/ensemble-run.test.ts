/** An ensemble in a whole run: its models are announced, pinned and scored with as single ones are. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startLocalRun } from "@oarlock/cli/local";
import { parseMetrics } from "@oarlock/report";
import { afterAll, expect, test } from "vitest";
import { rlhfPlan, writePairs } from "./rlhf-plan.ts";

const folders: string[] = [];
afterAll(async () => {
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
});

async function digests(reward: string): Promise<readonly string[]> {
  const folder = await mkdtemp(join(tmpdir(), "oarlock-ensemble-"));
  folders.push(folder);
  writePairs(folder);
  const plan = await rlhfPlan(folder, [`stages.ppo.ppo.rewards=[${reward}]`]);
  const local = await startLocalRun(plan, { outDir: folder, baseDir: folder });
  const outcome = await local.finished;
  expect(outcome.status).toBe("completed");
  const records = parseMetrics(await readFile(join(folder, "metrics.jsonl"), "utf8"));
  const steps = records.filter(({ kind, stage }) => kind === "step" && stage === "ppo");
  expect(steps.map(({ metrics }) => metrics["reward/failed_fraction"])).toEqual(steps.map(() => 0));
  return steps.map(({ policyDigest }) => policyDigest);
}

test("the mean of a model and itself trains the same policy as the model, bit for bit", async () => {
  const single = await digests("{name: preferred, type: model, model: {from: stage/rm}}");
  const twice = await digests(
    "{name: preferred, type: ensemble, ensemble: {from: [stage/rm, stage/rm], combine: mean}}",
  );
  expect(single).toHaveLength(5);
  expect(twice).toEqual(single);
});
