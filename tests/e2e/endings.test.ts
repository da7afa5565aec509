/**
 * T3 on the real command line: a run that Ctrl-C stopped, and one that was killed, continue with `oarlock resume` to the
 * very weights of the run that nobody disturbed; and `oarlock reproduce` finds them again, or says what changed.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mountSmallDisk, requireMount, temporaryFolder } from "@oarlock/testkit";
import { describe, expect, test } from "vitest";
import { digestsOf, type Ended, oarlock, startOarlock, stepsDone, summaryOf } from "./oarlock.ts";

const mounting = requireMount();
const SFT_STEPS = 30;
const GRPO_STEPS = 40;
const STEPS = SFT_STEPS + GRPO_STEPS;

const RUN_FILE = `
apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: sums }
spec:
  seed: 3
  model:
    init:
      architecture: llama
      hiddenSize: 32
      intermediateSize: 64
      layers: 2
      heads: 2
      maxPositions: 16
      tokenizer: { type: characters, characters: { alphabet: "0123456789+=" } }
  pipeline: { mode: lockstep, lag: 1 }
  stages:
    - name: sft
      type: sft
      sft:
        data: { type: file, file: { path: ./sums.jsonl } }
        steps: ${SFT_STEPS}
        batchSize: 16
        optimizer: { learningRate: 0.003 }
    - name: grpo
      type: grpo
      grpo:
        data: { type: task, task: { name: addition, digits: 1, split: train } }
        steps: ${GRPO_STEPS}
        promptsPerStep: 8
        groupSize: 8
        sampling: { maxNewTokens: 4 }
        rewards: [{ name: answer, type: exact }]
        kl: { placement: loss, estimator: k3, coefficient: 0.05 }
        optimizer: { learningRate: 0.0005 }
  checkpoints: { every: 8, keep: 2 }
`;

/** A folder with the run file and its data. */
function project(): string {
  const folder = temporaryFolder("endings");
  const sums = Array.from({ length: 64 }, (_, i) => [i % 8, Math.floor(i / 8)] as const);
  const rows = sums.map(([a, b]) => JSON.stringify({ prompt: `${a}+${b}=`, completion: String(a + b) }));
  writeFileSync(join(folder, "run.yaml"), RUN_FILE);
  writeFileSync(join(folder, "sums.jsonl"), `${rows.join("\n")}\n`);
  return folder;
}

/** What an undisturbed run comes to; once for the file. */
let undisturbed: Promise<readonly string[]> | undefined;
function expectedDigests(): Promise<readonly string[]> {
  undisturbed ??= (async () => {
    const folder = project();
    expect(await oarlock(["run", "run.yaml", "--out", "out"], folder)).toMatchObject({ code: 0 });
    return digestsOf(join(folder, "out"));
  })();
  return undisturbed;
}

async function expectResumed(folder: string, before: Ended): Promise<void> {
  const out = join(folder, "out");
  const done = digestsOf(out).length;
  expect(done, before.text).toBeLessThan(STEPS);
  const resumed = await oarlock(["resume", "out"], folder);
  expect(resumed.code, resumed.text).toBe(0);
  const expected = await expectedDigests();
  expect(expected).toHaveLength(STEPS);
  expect(digestsOf(out)).toEqual(expected);
  const summary = summaryOf(out);
  expect(summary).toMatchObject({
    status: "completed",
    steps: STEPS,
    policy: { digest: expected.at(-1) },
  });
  const inStages = summary.stages.reduce((sum, { seconds }) => sum + seconds, 0);
  expect(summary.seconds, "of all sittings").toBeGreaterThan(inStages);
}

/** A run that Ctrl-C stopped after so many steps, and what it says then. */
async function interruptedAt(steps: number): Promise<{ readonly folder: string; readonly ended: Ended }> {
  const folder = project();
  const started = startOarlock(["run", "run.yaml", "--out", "out"], folder);
  await stepsDone(join(folder, "out"), steps, started);
  started.child.kill("SIGINT");
  const ended = await started.ended;
  expect(ended.text).toContain("draining to a checkpoint");
  expect(ended.text).toContain("oarlock resume out");
  expect(summaryOf(join(folder, "out")).status).toBe("stopped");
  return { folder, ended };
}

describe("T3: a run that ends early", () => {
  test("by Ctrl-C drains to a checkpoint, and resume continues it bit for bit", async () => {
    const { folder, ended } = await interruptedAt(SFT_STEPS + GRPO_STEPS / 2);
    expect(ended.code, ended.text).toBe(130);
    await expectResumed(folder, ended);
  });

  test("by SIGKILL resumes from its last checkpoint, bit for bit; twice in a row", async () => {
    const folder = project();
    const out = join(folder, "out");
    let started = startOarlock(["run", "run.yaml", "--out", "out"], folder);
    const standing = async (): Promise<unknown> =>
      JSON.parse((await oarlock(["status", "out", "--json"], folder)).text);
    for (const steps of [SFT_STEPS + 5, SFT_STEPS + 25]) {
      await stepsDone(out, steps, started);
      started.child.kill("SIGKILL");
      expect(await started.ended).toMatchObject({ code: null, signal: "SIGKILL" });
      expect(await standing()).toMatchObject({ status: "killed", steps: digestsOf(out).length });
      expect((await oarlock(["status", "out"], folder)).text).toMatch(/^sums killed, last record /);
      if (steps === SFT_STEPS + 5) started = startOarlock(["resume", "out"], folder);
    }
    await expectResumed(folder, await started.ended);
  });

  test.skipIf(mounting.absent)(
    `by a full disk says so, and resumes once there is room${mounting.note}`,
    async () => {
      const folder = project();
      const disk = mountSmallDisk(join(folder, "out"), 16 * 2 ** 20);
      const started = startOarlock(["run", "run.yaml", "--out", "out"], folder);
      await stepsDone(join(folder, "out"), SFT_STEPS + 5, started);
      disk.fill();
      const ended = await started.ended;
      expect(ended.code, ended.text).toBe(1);
      // Whoever writes first: the record, or a checkpoint.
      expect(ended.text).toMatch(
        /\[CHECKPOINT_DISK_FULL\] .*out\/.*(takes \d+ bytes, \d+ are free|the disk is full)/,
      );
      expect(ended.text).toMatch(/summary and report could not be written: .*no space left/);
      expect(ended.text).toContain("oarlock resume out");
      expect(ended.text).not.toMatch(/please report|^ +at /m);
      disk.clear();
      await expectResumed(folder, ended);
    },
  );
});

test("T3: stopped in its first stage, a run refuses data that is not what it began with, names it, and goes on with what it was", async () => {
  const { folder, ended } = await interruptedAt(SFT_STEPS / 2);
  const out = join(folder, "out");
  const data = join(folder, "sums.jsonl");
  const rows = readFileSync(data, "utf8");
  writeFileSync(data, rows.replaceAll('"completion":"7"', '"completion":"8"'));
  const refused = await oarlock(["resume", "out"], folder);
  expect(refused.code, refused.text).toBe(3);
  expect(refused.text).toMatch(
    /RUN_INPUTS_CHANGED.*\n.*changed data: stages\.0\.sft\.data \(\.\/sums\.jsonl\)/,
  );
  expect(summaryOf(out).status).toBe("stopped");
  writeFileSync(data, rows);
  await expectResumed(folder, ended);
});

test("T3: stopped, a run says that its run file was changed, and goes on with its plan", async () => {
  const { folder } = await interruptedAt(SFT_STEPS / 2);
  const change = (path: string, from: string, to: string): void =>
    writeFileSync(join(folder, path), readFileSync(join(folder, path), "utf8").replace(from, to));
  const stoppedAgain = async (): Promise<string> => {
    const resumed = startOarlock(["resume", "out"], folder);
    await stepsDone(join(folder, "out"), digestsOf(join(folder, "out")).length + 1, resumed);
    resumed.child.kill("SIGINT");
    return (await resumed.ended).text;
  };
  const command = `\`oarlock run ${join(folder, "run.yaml")} --out out\` takes it up`;
  change("run.yaml", "seed: 3", "seed: 3 # of three");
  expect(await stoppedAgain()).not.toContain("takes it up");
  change("run.yaml", "learningRate: 0.003", "learningRate: 0.03");
  expect(await stoppedAgain()).toContain(
    `${join(folder, "run.yaml")} was changed since the run was planned, and the plan goes on; ${command}`,
  );
  change("out/run.yaml", "learningRate: 0.003", "learningRate: 0.3");
  const ended = await oarlock(["resume", "out"], folder);
  expect(ended.text).toContain(
    `out/run.yaml was changed since the run was planned (stages.0.sft.optimizer.learningRate), and the plan goes on; ` +
      `made in ${join(folder, "run.yaml")}, ${command}`,
  );
  expect(digestsOf(join(folder, "out"))).toEqual(await expectedDigests());
});

test("T3: a plan that was edited by hand is refused, and the run goes on with the one that it began with", async () => {
  const { folder, ended } = await interruptedAt(SFT_STEPS / 2);
  const path = join(folder, "out/plan.json");
  const plan = readFileSync(path, "utf8");
  writeFileSync(path, plan.replace('"learningRate": 0.003', '"learningRate": 0.03'));
  const refused = await oarlock(["resume", "out"], folder);
  expect(refused.code, refused.text).toBe(3);
  expect(refused.text).toContain("[PLAN_CHANGED] out/plan.json was changed since it was planned");
  writeFileSync(path, plan);
  await expectResumed(folder, ended);
});

describe("oarlock reproduce", () => {
  test("D1: gives the same policies again, and names the step and the data file that changed", async () => {
    const folder = project();
    const small = ["--set", "stages.sft.sft.steps=12", "--set", "stages.grpo.grpo.steps=12"];
    const ran = await oarlock(["run", "run.yaml", "--out", "out", ...small], folder);
    expect(ran.code, ran.text).toBe(0);
    const same = await oarlock(["reproduce", "out", "--out", "again"], folder);
    expect(same.code, same.text).toBe(0);
    expect(same.text).toContain(
      `reproduced: every policy version is the same, to ${digestsOf(join(folder, "out")).at(-1)}`,
    );

    const data = join(folder, "sums.jsonl");
    writeFileSync(data, readFileSync(data, "utf8").replaceAll('"completion":"7"', '"completion":"8"'));
    const changed = await oarlock(["reproduce", "out", "--out", "other"], folder);
    expect(changed.code, changed.text).toBe(4);
    const first = digestsOf(join(folder, "other")).findIndex(
      (digest, at) => digest !== digestsOf(join(folder, "out"))[at],
    );
    expect(changed.text).toContain(`different from stage sft step ${first + 1} on`);
    expect(changed.text).toMatch(/changed data: stages\.0\.sft\.data \(\.\/sums\.jsonl\) digest: .* is now /);

    // Nothing to compare with is no success; nor is the run compared with itself.
    const out = join(folder, "out");
    const itself = await oarlock(["reproduce", "out", "--out", "out"], folder);
    expect([itself.code, itself.text]).toEqual([3, expect.stringContaining("[RUN_FOLDER_TAKEN]")]);
    writeFileSync(join(out, "metrics.jsonl"), "");
    const nothing = await oarlock(["reproduce", "out"], folder);
    expect([nothing.code, nothing.text]).toEqual([3, expect.stringContaining("[RUN_NOT_BEGUN] out")]);
    expect(existsSync(join(out, "reproduced"))).toBe(false);
  });

  test("goes on with a second run that was stopped, and compares one that is complete", async () => {
    const folder = project();
    const small = ["--set", "stages.sft.sft.steps=12", "--set", "stages.grpo.grpo.steps=30"];
    expect(await oarlock(["run", "run.yaml", "--out", "out", ...small], folder)).toMatchObject({ code: 0 });
    const started = startOarlock(["reproduce", "out"], folder);
    await stepsDone(join(folder, "out/reproduced"), 5, started);
    started.child.kill("SIGINT");
    const stopped = await started.ended;
    expect([stopped.code, stopped.text]).toEqual([130, expect.stringContaining("oarlock reproduce out\n")]);
    for (const said of ["sums completed: 42 steps", "out/reproduced: the run is complete"]) {
      const { code, text } = await oarlock(["reproduce", "out"], folder);
      expect([code, text]).toEqual([0, expect.stringContaining(said)]);
      expect(text).toContain("reproduced: every policy version is the same, to ");
    }
  });
});
