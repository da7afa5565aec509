/**
 * Guards in a whole run. The reward in training pays for length, the gold scorer for brevity: what rises makes the other fall,
 * and the guard must see it. Its reaction is part of the run's bits: kills and resumes change nothing (D1, T3).
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startLocalRun } from "@oarlock/cli/local";
import type { LocalRunOptions, RunEvent, RunOutcome } from "@oarlock/cli/local";
import { parseMetrics, summarize } from "@oarlock/report";
import type { MetricsRecord } from "@oarlock/report";
import { afterAll, describe, expect, test } from "vitest";
import { BRANCH, rlhfPlan, writePairs } from "./rlhf-plan.ts";

const folders: string[] = [];
afterAll(async () => {
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
});

const STEPS = 24;
const guarded = (reaction: string, more = ""): string[] => [
  `stages.ppo.ppo.steps=${STEPS}`,
  "stages.ppo.ppo.epochs=4",
  "stages.ppo.ppo.optimizer.learningRate=0.0005",
  "stages.ppo.ppo.kl={coefficient: 0.0001}",
  "stages.ppo.ppo.rewards=[" +
    "{name: long, type: length, length: {unit: tokens, min: 4, max: 4, softness: 3}}, " +
    "{name: short, type: length, heldOut: true, length: {unit: tokens, min: 1, max: 1, softness: 3}}]",
  `stages.ppo.ppo.guards=[{name: hacked, watch: reward-hacking, reaction: ${reaction}, limit: 0.05, window: 3${more}}]`,
];

interface Ran {
  readonly outcome: RunOutcome;
  readonly records: readonly MetricsRecord[];
  readonly ppo: readonly MetricsRecord[];
  readonly events: readonly RunEvent[];
}

const newFolder = async (): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), "oarlock-guards-"));
  folders.push(folder);
  writePairs(folder);
  return folder;
};

const recordsOf = async (folder: string): Promise<MetricsRecord[]> =>
  parseMetrics(await readFile(join(folder, "metrics.jsonl"), "utf8"));

async function run(
  set: readonly string[],
  { folder: given, stages, ...more }: Partial<LocalRunOptions> & { folder?: string; stages?: string } = {},
): Promise<Ran> {
  const folder = given ?? (await newFolder());
  const events: RunEvent[] = [];
  const onEvent = (event: RunEvent): void => {
    events.push(event);
    more.onEvent?.(event);
  };
  const plan = await rlhfPlan(folder, set, stages);
  const local = await startLocalRun(plan, {
    outDir: folder,
    baseDir: folder,
    uid: "guarded",
    ...more,
    onEvent,
  });
  const outcome = await local.finished;
  const records = await recordsOf(folder);
  const ppo = records.filter(({ kind, stage }) => kind === "step" && stage === "ppo");
  return { outcome, records, ppo, events };
}

const digestsOf = ({ ppo }: Pick<Ran, "ppo">): string[] => ppo.map(({ policyDigest }) => policyDigest);

/** Stops the run when a step of PPO is done. */
function stopAt(step: number): Pick<LocalRunOptions, "signal" | "onEvent"> {
  const stop = new AbortController();
  return {
    signal: stop.signal,
    onEvent: (event) => {
      if (event.type === "step" && event.stage === "ppo" && event.step === step) stop.abort();
    },
  };
}

describe("a guard against reward hacking", () => {
  test("D1, T3: rolls back to the last good policy, which is the stage's result, whatever is stopped in between", async () => {
    const whole = await run(guarded("roll-back"));
    const last = whole.ppo.at(-1);
    expect(whole.outcome.status).toBe("completed");
    expect(whole.ppo.length).toBeLessThan(STEPS);
    expect(last?.alarms).toMatchObject([{ guard: "hacked", reaction: "roll-back" }]);
    expect(last?.metrics["guard/hacked/fired"]).toBe(1);
    const golds = whole.ppo.map(({ metrics }) => metrics["gold/short/mean"] ?? Number.NaN);
    expect(golds.at(-1)).toBeLessThan((golds[0] ?? 0) - 0.05);
    expect(Object.keys(last?.metrics ?? {})).not.toContain("reward/short/mean");

    // The policy before the last step whose strain was at most a half; the stage's own start if there was none.
    const good = whole.ppo.findLastIndex(({ metrics }) => (metrics["guard/hacked/strain"] ?? 0) <= 0.5);
    const before = whole.records.filter(({ kind, stage }) => kind === "step" && stage === "sft").at(-1);
    expect(good).toBeGreaterThanOrEqual(0);
    expect(last?.policyDigest).toBe((good === 0 ? before : whole.ppo[good - 1])?.policyDigest);
    expect(whole.outcome.policy.digest).toBe(last?.policyDigest);

    const summary = summarize({
      name: "guarded",
      status: "completed",
      planDigest: "",
      seconds: 0,
      stages: ["sft", "rm", "ppo"],
      records: whole.records,
    });
    expect(summary.alarms).toMatchObject([{ stage: "ppo", step: whole.ppo.length, guard: "hacked" }]);
    expect(whole.events.filter(({ type }) => type === "alarm")).toHaveLength(1);

    // Before the alarm, and at the very step of it: the checkpoint knows that the stage is over.
    for (const step of [2, whole.ppo.length]) {
      const folder = await newFolder();
      await run(guarded("roll-back"), { folder, ...stopAt(step) });
      const resumed = await run(guarded("roll-back"), { folder, resume: true });
      expect(digestsOf(resumed)).toEqual(digestsOf(whole));
      expect(resumed.outcome.policy).toEqual(whole.outcome.policy);
      expect(resumed.ppo.at(-1)?.alarms).toEqual(last?.alarms);
    }
  });

  test("D1: with lag, what was issued ahead of the alarm is dropped, and other actors change nothing", async () => {
    const lag = [...guarded("roll-back"), "pipeline.lag=1"];
    const one = await run(lag);
    const several = await run([...lag, "compute.actors=3"]);
    expect(one.ppo.at(-1)?.alarms).toHaveLength(1);
    expect(digestsOf(several)).toEqual(digestsOf(one));
  });

  test("T3: raises β, which a resumed run still knows", async () => {
    const set = guarded("raise-beta", ", factor: 10");
    const whole = await run(set);
    expect(whole.ppo).toHaveLength(STEPS);
    const fired = whole.ppo.findIndex(({ alarms }) => alarms !== undefined);
    const betas = whole.ppo.map(({ metrics }) => metrics["actor/reward_kl_penalty_coeff"] ?? Number.NaN);
    expect(betas.slice(0, fired + 1).every((beta) => beta === 1e-4)).toBe(true);
    expect(betas[fired + 1]).toBeCloseTo(1e-3, 12);
    const folder = await newFolder();
    await run(set, { folder, ...stopAt(fired + 2) });
    const resumed = await run(set, { folder, resume: true });
    expect(digestsOf(resumed)).toEqual(digestsOf(whole));
  });

  test("of another kind, in GRPO: far from the start β is raised, by a factor each time", async () => {
    const { records } = await run(
      [
        "stages.branch.grpo.steps=7",
        "stages.branch.grpo.guards=[{name: far, watch: kl, reaction: raise-beta, limit: 0.0000001, window: 2, factor: 3}]",
      ],
      { stages: BRANCH },
    );
    const branch = records.filter(({ kind, stage }) => kind === "step" && stage === "branch");
    const fired = branch.map(({ alarms }) => alarms !== undefined);
    expect(fired.filter(Boolean).length).toBeGreaterThan(1);
    const expected = fired.reduce<number[]>(
      (betas, one) => [...betas, (betas.at(-1) ?? 0) * (one ? 3 : 1)],
      [0.04],
    );
    const betas = branch.map(({ metrics }) => metrics["actor/kl_coef"] ?? Number.NaN);
    betas.forEach((beta, step) => expect(beta).toBeCloseTo(expected[step] ?? Number.NaN, 9));
  });

  test("stops the run, and says why", async () => {
    const folder = await newFolder();
    await expect(run(guarded("stop"), { folder })).rejects.toThrow(
      /GUARD_STOPPED.*stage ppo, step \d+: guard hacked: gold\/short\/mean fell from .* while the reward rose/,
    );
    expect((await recordsOf(folder)).at(-1)?.alarms).toHaveLength(1);
  });
});
