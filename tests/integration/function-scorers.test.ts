/** User functions that are declared deterministic, in whole runs: remembered without a change of bits, and refused where they are not. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startLocalRun } from "@oarlock/cli/local";
import { RewardService } from "@oarlock/proto";
import { parseMetrics, parseSamples } from "@oarlock/report";
import { openChannel } from "@oarlock/rpc";
import { temporaryFolder } from "@oarlock/testkit";
import { expect, test } from "vitest";
import { additionPlan } from "./addition-plan.ts";

const plan = (deterministic: boolean) =>
  additionPlan([
    `stages.grpo.grpo.rewards=[{name: mine, type: function, function: {file: reward.mjs${deterministic ? ", deterministic: true" : ""}}}]`,
    "evaluation.metric=mine",
  ]);

async function runWith(code: string, deterministic: boolean) {
  const folder = temporaryFolder("function");
  writeFileSync(join(folder, "reward.mjs"), code);
  let hits = 0n;
  let asked: Promise<void> | undefined;
  const local = await startLocalRun(plan(deterministic), {
    outDir: folder,
    baseDir: folder,
    onEvent: (event) => {
      // Between two actions of the learner, whose last one this is not.
      if (event.type !== "step" || event.stage !== "grpo" || event.step !== 5) return;
      asked = (async () => {
        using channel = openChannel(local.addresses.reward);
        const { scorers } = await channel.client(RewardService).getStatus({});
        hits = scorers.find(({ name }) => name === "mine")?.cacheHits ?? 0n;
      })();
    },
  });
  await local.finished;
  await asked;
  const records = parseMetrics(readFileSync(join(folder, "metrics.jsonl"), "utf8"));
  const digests = records.filter(({ kind }) => kind === "step").map(({ policyDigest }) => policyDigest);
  return { digests, hits };
}

test("D1: remembering the scores of a function changes no bit; without the declaration nothing is remembered", async () => {
  const code = "export const reward = ({ completion }) => completion.length;";
  const [plain, remembered] = [await runWith(code, false), await runWith(code, true)];
  expect(plain.digests).toHaveLength(12);
  expect(remembered.digests).toEqual(plain.digests);
  expect(plain.hits).toBe(0n);
  expect(remembered.hits).toBeGreaterThan(0n);
});

test("one that draws lots ends the run, by its name", async () => {
  const code = "export const reward = () => Math.random();";
  await expect(runWith(code, true)).rejects.toThrow(
    /REWARD_NOT_DETERMINISTIC.*reward mine is declared deterministic/,
  );
});

test("S1: one that fails on every sample ends the run at its first step, with its words on record", async () => {
  const code = "export const reward = ({ fields }) => fields.answer.length;";
  await expect(runWith(code, false)).rejects.toThrow(
    /REWARDS_FAILED.*stage grpo, step 1: none of \d+ samples.*mine: REWARD_THREW: TypeError: .*'answer'/,
  );
});

test("S1: one that fails now and then is said, and the run goes on", async () => {
  const folder = temporaryFolder("function");
  const odd = "if (completion.includes('1')) throw new Error('not this one');";
  writeFileSync(
    join(folder, "reward.mjs"),
    `export const reward = ({ completion }) => { ${odd} return completion.length; };`,
  );
  const said: string[] = [];
  const local = await startLocalRun(plan(false), {
    outDir: folder,
    baseDir: folder,
    onEvent: (event) => {
      if (event.type === "unscored" && event.failed < event.of) said.push(event.reason);
    },
  });
  expect((await local.finished).status).toBe("completed");
  expect(said).toContain("mine: REWARD_THREW: Error: not this one");
  const samples = parseSamples(readFileSync(join(folder, "samples.jsonl"), "utf8"));
  const failed = samples.filter(({ total }) => total === null);
  expect(failed.length).toBeGreaterThan(0);
  expect(failed.map(({ failure }) => failure)).toEqual(
    failed.map(() => "mine: REWARD_THREW: Error: not this one"),
  );
});
