/** An ensemble in a whole run: its models are announced, pinned and scored with as single ones are. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startLocalRun } from "@oarlock/cli/local";
import type { LocalRun } from "@oarlock/cli/local";
import { LearnerService } from "@oarlock/proto";
import { parseMetrics, parseSamples } from "@oarlock/report";
import { openChannel } from "@oarlock/rpc";
import { afterAll, expect, test } from "vitest";
import { writeTinyScorer } from "../tiny-scorer.ts";
import { rlhfPlan, writePairs } from "./rlhf-plan.ts";

const folders: string[] = [];
afterAll(async () => {
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
});

/** Runs it; gives the run folder. */
async function run(
  rewards: string,
  more: readonly string[] = [],
  during: (local: LocalRun, folder: string) => Promise<void> = async () => {},
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "oarlock-ensemble-"));
  folders.push(folder);
  writePairs(folder);
  await writeTinyScorer(join(folder, "other"), { hiddenSize: 16, seed: 1 });
  const plan = await rlhfPlan(folder, [`stages.ppo.ppo.rewards=[${rewards}]`, ...more]);
  const local = await startLocalRun(plan, { outDir: folder, baseDir: folder });
  await during(local, folder);
  const outcome = await local.finished;
  expect(outcome.status).toBe("completed");
  return folder;
}

async function digests(reward: string): Promise<readonly string[]> {
  const folder = await run(reward);
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

test("mean, min and mean-variance of a trained model and one that is read, and is replaced, are of what both say of each sample", async () => {
  const [trained, read] = ["stage/rm", "./other"];
  const ensembles = ["mean", "min", "mean-variance"].map(
    (combine) =>
      `{name: ${combine}, type: ensemble, ensemble: {from: [${trained}, ${read}], combine: ${combine}, lambda: 2}}`,
  );
  const alone = [trained, read].map(
    (from, at) => `{name: m${at}, type: model, weight: 0, model: {from: ${from}}}`,
  );
  let [first, second] = ["", ""];
  const set = ["stages.ppo.ppo.steps=2", "output.samplesPerStep=16"];
  const folder = await run([...alone, ...ensembles].join(", "), set, async ({ addresses }, base) => {
    first = await writeTinyScorer(join(base, "again"), { hiddenSize: 16, seed: 1 });
    second = await writeTinyScorer(join(base, "successor"), { hiddenSize: 16, seed: 2 });
    using channel = openChannel(addresses.learner);
    const request = { scorer: "m1", model: join(base, "successor"), step: 2 };
    await channel.client(LearnerService).replaceScorer(request, { timeoutMs: 60_000 });
  });
  const samples = parseSamples(await readFile(join(folder, "samples.jsonl"), "utf8"));
  const rollouts = samples.filter(({ stage }) => stage === "ppo");
  expect(rollouts).toHaveLength(32);
  for (const { step, rewards, versions = {}, total } of rollouts) {
    expect(versions["m1"]).toBe(`sha256:${step === 1 ? first : second}`);
    const [a, b] = [rewards["m0"]!, rewards["m1"]!];
    const mean = (a + b) / 2;
    const expected = {
      mean,
      min: Math.min(a, b),
      "mean-variance": mean - 2 * (((a - mean) ** 2 + (b - mean) ** 2) / 2),
    };
    for (const [name, value] of Object.entries(expected)) {
      expect(rewards[name]).toBeCloseTo(value, 5);
      expect(versions[name]).toBe(`${versions["m0"]}+${versions["m1"]}`);
    }
    expect(total).toBeCloseTo(expected.mean + expected.min + expected["mean-variance"], 5);
  }
  // Each is the least of some sample, so that neither alone would do for the minimum.
  const firstIsLeast = rollouts.map(({ rewards }) => rewards["m0"]! < rewards["m1"]!);
  expect(new Set(firstIsLeast)).toEqual(new Set([true, false]));
});
