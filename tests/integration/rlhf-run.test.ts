/** The whole pipeline in one process: a supervised policy, a reward model from preferences, PPO against it. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LocalRunOptions, RunEvent, RunOutcome } from "@oarlock/cli/local";
import { startLocalRun } from "@oarlock/cli/local";
import { parseMetrics } from "@oarlock/report";
import type { MetricsRecord } from "@oarlock/report";
import { loadModelFolder } from "@oarlock/models";
import { afterAll, describe, expect, test } from "vitest";
import { BRANCH, rlhfPlan, writePairs, writeRankings } from "./rlhf-plan.ts";

const folders: string[] = [];
afterAll(async () => {
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
});

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "oarlock-rlhf-"));
  folders.push(folder);
  writePairs(folder);
  return folder;
}

interface Ran {
  readonly outcome: RunOutcome;
  readonly records: readonly MetricsRecord[];
  /** Of what every step made: policy, reward model, policy. */
  readonly digests: readonly string[];
  readonly folder: string;
}

async function runPlan(
  set: readonly string[] = [],
  options: Partial<LocalRunOptions> & { folder?: string; stages?: string } = {},
): Promise<Ran> {
  const { folder = await newFolder(), stages, ...more } = options;
  const plan = await rlhfPlan(folder, set, stages);
  const local = await startLocalRun(plan, { outDir: folder, baseDir: folder, ...more });
  const outcome = await local.finished;
  const records = await readRecords(folder);
  const digests = records.filter(({ kind }) => kind === "step").map(({ policyDigest }) => policyDigest);
  return { outcome, records, digests, folder };
}

let undisturbed: Promise<Ran> | undefined;
/** The run that nothing happens to: what all others must equal. */
const wholeRun = (): Promise<Ran> => (undisturbed ??= runPlan());

async function readRecords(folder: string): Promise<MetricsRecord[]> {
  return parseMetrics(await readFile(join(folder, "metrics.jsonl"), "utf8"));
}

const stepsOf = (records: readonly MetricsRecord[], stage: string): MetricsRecord[] =>
  records.filter((record) => record.kind === "step" && record.stage === stage);

describe("SFT, a reward model and PPO in one run", () => {
  test("of a reward model with nothing held out there is no verdict, and the run goes on", async () => {
    const { outcome } = await runPlan([
      "stages.rm.reward-model.heldOut=0",
      "stages.rm.reward-model.minimumAccuracy=0",
      "stages.ppo.ppo.steps=1",
    ]);
    expect(outcome).toMatchObject({ status: "completed", steps: 11, evaluations: [] });
  });

  test("D1: two runs give the same weights after every step of every stage, and each stage learns", async () => {
    const first = await wholeRun();
    const second = await runPlan();
    expect(first.outcome.status).toBe("completed");
    expect(first.digests).toHaveLength(15);
    expect(new Set(first.digests).size).toBe(15);
    expect(second.digests).toEqual(first.digests);

    const [reward] = first.outcome.evaluations;
    expect(reward).toMatchObject({ stage: "rm", when: "after", step: 6 });
    expect(reward?.metrics["val-core/held-out/rm/accuracy"]).toBeGreaterThan(0.5);
    expect(reward?.metrics["val-aux/rm/pairs"]).toBeGreaterThan(10);

    const ppo = stepsOf(first.records, "ppo");
    for (const { metrics } of ppo) {
      expect(metrics["actor/updates"]).toBe(4);
      expect(metrics["critic/grad_norm"]).toBeGreaterThan(0);
      expect(metrics["reward/preferred/mean"]).toBeTypeOf("number");
      expect(metrics["reward/failed_fraction"]).toBe(0);
    }
    // The controller moves β; the first step finds policy and reference equal.
    expect(ppo[0]?.metrics["actor/reward_kl_penalty"]).toBe(0);
    const betas = ppo.map(({ metrics }) => metrics["actor/reward_kl_penalty_coeff"] ?? Number.NaN);
    expect(new Set(betas).size).toBe(5);

    const model = await loadModelFolder(join(first.folder, "models", "rm"));
    expect(model.config.head).toBe("score");
    expect(model.digest).toBe(stepsOf(first.records, "rm").at(-1)?.policyDigest);
    expect(await readdir(join(first.folder, "artifacts"))).toEqual(
      expect.arrayContaining([`${model.digest}.f32`, "rm.json", "sft.json", "ppo.json"]),
    );
  });

  test("T3: a run stopped in the middle of each stage continues to the same weights", async () => {
    const whole = await wholeRun();
    const folder = await newFolder();
    for (const [stage, stopAt] of [2, 7, 13].entries()) {
      const stop = new AbortController();
      const onEvent = (event: RunEvent): void => {
        if (event.type === "step" && event.globalStep === stopAt) stop.abort();
      };
      const run = { folder, uid: "run-1", resume: stage > 0, signal: stop.signal, onEvent };
      const stopped = await runPlan([], run);
      expect(stopped.outcome).toMatchObject({ status: "stopped", steps: stopAt });
    }
    const resumed = await runPlan([], { folder, uid: "run-1", resume: true });
    expect(resumed.digests).toEqual(whole.digests);
  });

  test("T3: a run abandoned at once in each stage continues from its last checkpoint to the same weights", async () => {
    const whole = await wholeRun();
    const folder = await newFolder();
    const plan = await rlhfPlan(folder);
    for (const [stage, dieAt] of [2, 7, 13].entries()) {
      let reach: () => void = () => undefined;
      const reached = new Promise<void>((resolve) => (reach = resolve));
      const onEvent = (event: RunEvent): void => {
        if (event.type === "step" && event.globalStep === dieAt) reach();
      };
      const run = { outDir: folder, baseDir: folder, uid: "run-2", resume: stage > 0, onEvent };
      const local = await startLocalRun(plan, run);
      await reached;
      await local.abandon();
    }
    const resumed = await runPlan([], { folder, uid: "run-2", resume: true });
    expect(resumed.digests).toEqual(whole.digests);
  });

  test("T3: normalised rewards go on from the moments of the checkpoint, after a death", async () => {
    const normalized = [
      "stages.ppo.ppo.rewards=[{name: preferred, type: model, model: {from: stage/rm}, normalize: running}]",
    ];
    const whole = await runPlan(normalized);
    expect(whole.digests).not.toEqual((await wholeRun()).digests);
    const folder = await newFolder();
    let reach: () => void = () => undefined;
    const reached = new Promise<void>((resolve) => (reach = resolve));
    const plan = await rlhfPlan(folder, normalized);
    const onEvent = (event: RunEvent): void => {
      if (event.type === "step" && event.globalStep === 13) reach();
    };
    const local = await startLocalRun(plan, { outDir: folder, baseDir: folder, uid: "run-3", onEvent });
    await reached;
    await local.abandon();
    const resumed = await runPlan(normalized, { folder, uid: "run-3", resume: true });
    expect(resumed.digests).toEqual(whole.digests);
  });

  test("D1: more actors and reward workers, and lag, change nothing that the plan does not say", async () => {
    const lag = ["pipeline.lag=1"];
    const one = await runPlan(lag);
    const several = await runPlan([
      ...lag,
      "compute.actors=3",
      "compute.rewardWorkers=2",
      // Nor does it change a bit who computes these: a token's are the same in any pass (D3).
      "stages.ppo.ppo.reference.computedBy=actors",
    ]);
    expect(several.digests).toEqual(one.digests);
  });

  test("D1, T3: values by actors: at lag 0 the learner's bits, at lag 1 those of the critic beside the policy, also after a stop", async () => {
    const byActors = ["compute.actors=3", "stages.ppo.ppo.critic.computedBy=actors"];
    expect((await runPlan(byActors)).digests).toEqual((await wholeRun()).digests);
    const lagging = [...byActors, "pipeline.lag=1"];
    const whole = await runPlan([...lagging, "compute.actors=1"]);
    const folder = await newFolder();
    const stop = new AbortController();
    const onEvent = (event: RunEvent): void => {
      if (event.type === "step" && event.globalStep === 12) stop.abort();
    };
    await runPlan(lagging, { folder, uid: "values", signal: stop.signal, onEvent });
    const resumed = await runPlan(lagging, { folder, uid: "values", resume: true });
    expect(resumed.digests).toEqual(whole.digests);
  });

  test.each(["plackett-luce", "all-pairs"])("a reward model learns from rankings: %s", async (loss) => {
    const folder = await newFolder();
    writeRankings(folder);
    const { records } = await runPlan(
      [
        `stages.rm.reward-model.loss=${loss}`,
        "stages.rm.reward-model.answers=3",
        "stages.rm.reward-model.data={type: file, file: {path: rankings.jsonl}}",
        "stages.rm.reward-model.steps=12",
      ],
      { folder },
    );
    const losses = stepsOf(records, "rm").map(({ metrics }) => metrics["reward_model/loss"] ?? Number.NaN);
    expect(losses.at(-1)).toBeLessThan(0.9 * (losses[0] ?? 0));
    const found = records.find(({ kind, stage }) => kind === "evaluation" && stage === "rm")?.metrics;
    expect(found?.["val-core/held-out/rm/accuracy"]).toBeGreaterThan(0.8);
    // Three pairs of each ranking; the one row with two answers was left out.
    expect((found?.["val-aux/rm/pairs"] ?? 0) % 3).toBe(0);
    expect(found?.["val-aux/rm/rankings_of_other_counts"]).toBe(1);
  });

  test("D1, T3: PPO-ptx keeps the demonstrations likely, also after a resume", async () => {
    const ptx = (coefficient: number) =>
      `stages.ppo.ppo.ptx={data: {type: task, task: {name: addition, digits: 1, split: train}}, coefficient: ${coefficient}, batchSize: 8}`;
    const lossOf = ({ records }: Ran): number =>
      stepsOf(records, "ppo").at(-1)?.metrics["actor/ptx_loss"] ?? Number.NaN;
    const mixed = await runPlan([ptx(2)]);
    expect(lossOf(mixed)).toBeLessThan(lossOf(await runPlan([ptx(1e-6)])));
    expect((await runPlan([ptx(0)])).digests).toEqual((await wholeRun()).digests);
    const folder = await newFolder();
    const stop = new AbortController();
    const onEvent = (event: RunEvent): void => {
      if (event.type === "step" && event.globalStep === 12) stop.abort();
    };
    await runPlan([ptx(2)], { folder, uid: "ptx", signal: stop.signal, onEvent });
    const resumed = await runPlan([ptx(2)], { folder, uid: "ptx", resume: true });
    expect(resumed.digests).toEqual(mixed.digests);
  });

  test("D1, T3: a value head on the policy's trunk learns with it, starts at a ratio of 1, and is resumed", async () => {
    const trunk = "stages.ppo.ppo.critic={network: trunk, coefficient: 0.5}";
    const once = ["stages.ppo.ppo.epochs=1", "stages.ppo.ppo.miniBatches=1"];
    for (const { metrics } of stepsOf((await runPlan([trunk, ...once])).records, "ppo")) {
      expect(metrics["actor/ppo_kl"]).toBe(0);
      expect(metrics["actor/pg_clipfrac"]).toBe(0);
    }
    const whole = await runPlan([trunk]);
    const values = stepsOf(whole.records, "ppo").map(({ metrics }) => metrics["critic/values/mean"]);
    expect(values[0]).toBe(0); // a head of zeros
    expect(values.at(-1)).not.toBe(0);
    const folder = await newFolder();
    const stop = new AbortController();
    const onEvent = (event: RunEvent): void => {
      if (event.type === "step" && event.globalStep === 12) stop.abort();
    };
    await runPlan([trunk], { folder, uid: "trunk", signal: stop.signal, onEvent });
    const resumed = await runPlan([trunk], { folder, uid: "trunk", resume: true });
    expect(resumed.digests).toEqual(whole.digests);
  });

  test("D1, T3: a value head on the policy's trunk warms up alone: the policy's digest stands still, also after a resume", async () => {
    const warming = [
      "stages.ppo.ppo.critic={network: trunk, warmupSteps: 3, optimizer: {learningRate: 0.01}}",
    ];
    const whole = await runPlan(warming);
    const before = stepsOf(whole.records, "sft").at(-1)?.policyDigest;
    const ppo = stepsOf(whole.records, "ppo");
    expect(ppo.map(({ policyDigest }) => policyDigest === before)).toEqual([true, true, true, false, false]);
    for (const [at, { metrics }] of ppo.entries()) {
      expect(metrics["actor/updates"]).toBe(at < 3 ? undefined : 4);
      expect(metrics["actor/lr"] === undefined).toBe(at < 3);
      expect(metrics["critic/vf_loss"]).toBeGreaterThan(0);
    }
    // A head of zeros has learned something by the time that the policy begins to.
    expect(ppo[0]?.metrics["critic/values/mean"]).toBe(0);
    expect(Math.abs(ppo[3]?.metrics["critic/values/mean"] ?? 0)).toBeGreaterThan(0.01);
    // Stopped in the warm-up: the head's count of updates is part of what goes on.
    const folder = await newFolder();
    const stop = new AbortController();
    const onEvent = (event: RunEvent): void => {
      if (event.type === "step" && event.globalStep === 12) stop.abort();
    };
    await runPlan(warming, { folder, uid: "warming", signal: stop.signal, onEvent });
    const resumed = await runPlan(warming, { folder, uid: "warming", resume: true });
    expect(resumed.digests).toEqual(whole.digests);
  });

  test("the gate ends the run before the next stage, and says why", async () => {
    const folder = await newFolder();
    const plan = await rlhfPlan(folder, [
      "stages.rm.reward-model.minimumAccuracy=0.99",
      "stages.rm.reward-model.steps=1",
      "stages.rm.reward-model.optimizer.learningRate=1e-7",
    ]);
    const local = await startLocalRun(plan, { outDir: folder, baseDir: folder });
    await expect(local.finished).rejects.toThrow(
      /GATE_NOT_PASSED.*stage rm: the held-out accuracy is 0\.\d+, minimumAccuracy is 0\.99/,
    );
    expect(stepsOf(await readRecords(folder), "ppo")).toEqual([]);
  });

  test("a stage may start from an earlier one, also after a resume: GRPO from the supervised policy", async () => {
    const whole = await runPlan([], { stages: BRANCH });
    expect(whole.outcome.status).toBe("completed");
    const sft = stepsOf(whole.records, "sft").at(-1);
    const branch = stepsOf(whole.records, "branch");
    expect(branch).toHaveLength(2);
    // The policy that it starts from is a version of its own, and the reference: the first step's KL to it is 0.
    expect(branch[0]?.policyVersion).toBe(17);
    expect(branch[0]?.metrics["actor/kl_loss"]).toBe(0);
    expect(sft?.policyDigest).not.toBe(branch[0]?.policyDigest);

    const folder = await newFolder();
    const stop = new AbortController();
    const onEvent = (event: RunEvent): void => {
      if (event.type === "step" && event.stage === "branch" && event.step === 1) stop.abort();
    };
    const options = { folder, uid: "run-3", stages: BRANCH };
    await runPlan([], { ...options, signal: stop.signal, onEvent });
    const resumed = await runPlan([], { ...options, resume: true });
    expect(resumed.digests).toEqual(whole.digests);
  });

  test("the critic warms up alone; the KL may be a term of the loss, with a weight that moves", async () => {
    const { outcome, records } = await runPlan([
      "stages.ppo.ppo.critic.warmupSteps=1",
      "stages.ppo.ppo.kl={placement: loss, coefficient: 0.05, controller: adaptive, target: 0.5, horizon: 200}",
    ]);
    expect(outcome.status).toBe("completed");
    const ppo = stepsOf(records, "ppo");
    const [sft, first] = [stepsOf(records, "sft").at(-1), ppo[0]];
    // The warm-up step trains the critic alone.
    expect(first?.policyDigest).toBe(sft?.policyDigest);
    expect(first?.metrics["critic/grad_norm"]).toBeGreaterThan(0);
    expect(first?.metrics["actor/updates"]).toBeUndefined();
    expect(ppo[1]?.policyDigest).not.toBe(first?.policyDigest);
  });
});
