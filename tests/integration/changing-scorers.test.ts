/**
 * Scorers that nothing pins, and that whoever runs them gives another version in the middle of a step: the samples of a step are
 * judged by one version all the same (S1).
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startNatsServer } from "@oarlock/bus";
import { startLocalRun } from "@oarlock/cli/local";
import { startProcessesRun } from "@oarlock/cli/processes";
import { RewardScope, RewardService, RolloutPurpose } from "@oarlock/proto";
import { parseMetrics } from "@oarlock/report";
import type { MetricsRecord } from "@oarlock/report";
import { RpcServer } from "@oarlock/rpc";
import type { ResolvedRun } from "@oarlock/runfile";
import { silentLog } from "@oarlock/runtime";
import { requireNatsServer, temporaryFolder } from "@oarlock/testkit";
import { expect, onTestFinished, test } from "vitest";
import { additionPlan } from "./addition-plan.ts";

const program = requireNatsServer();

function stepsOf(folder: string): readonly MetricsRecord[] {
  const records = parseMetrics(readFileSync(join(folder, "metrics.jsonl"), "utf8"));
  return records.filter((record) => record.kind === "step" && record.stage === "grpo");
}

/** Groups of rollouts before the change: two more than two steps have. */
const BEFORE = 10;

/** A scorer whose score is its version: a step with two of them shows two scores. Its version is said by calls so far. */
async function serveChanging(
  versionOf: (call: number) => string,
  { onPinned = () => undefined }: { readonly onPinned?: () => void } = {},
) {
  /** Versions that were asked for of rollouts, by step and group. */
  const asked: { readonly step: number; readonly group: number; readonly wanted: string }[] = [];
  const server = new RpcServer({ host: "127.0.0.1", port: 0, log: silentLog });
  server.add(RewardService, {
    async score({ trajectories, scorers }) {
      const [{ group, purpose } = {}] = trajectories;
      const { stage = 0, step = 0, group: index = 0 } = group ?? {};
      const version = versionOf(asked.length);
      if (stage === 1 && purpose === RolloutPurpose.ROLLOUT)
        asked.push({ step, group: index, wanted: scorers[0]?.version ?? "" });
      if (scorers[0]?.version !== "") onPinned();
      const value = { scope: RewardScope.TRAJECTORY, values: [Number(version)] };
      const reward = { name: "mine", scorerVersion: version, verdict: { case: "scored" as const, value } };
      return { results: trajectories.map(() => ({ rewards: [reward] })) };
    },
    async getStatus() {
      return {};
    },
  });
  const address = await server.listen();
  onTestFinished(() => server.close());
  const plan = (set: readonly string[] = []) =>
    additionPlan([
      // A group of four samples is a call, one after the other.
      `stages.grpo.grpo.rewards=[{name: mine, type: grpc, grpc: {address: "${address}"}, service: {batchSize: 4, batchWaitMs: 1, concurrency: 1}}]`,
      "evaluation.metric=mine",
      "evaluation.every=100",
      "stages.sft.sft.steps=2",
      ...set,
    ]);
  return { asked, plan };
}

interface StepScores {
  readonly lowest: number | undefined;
  readonly highest: number | undefined;
  readonly failed: number | undefined;
}

async function scoresOf(plan: ResolvedRun, label: string): Promise<readonly StepScores[]> {
  const folder = temporaryFolder(label);
  const local = await startLocalRun(plan, { outDir: folder, baseDir: folder });
  expect(await local.finished).toMatchObject({ status: "completed" });
  return stepsOf(folder).map(({ metrics }) => ({
    lowest: metrics["critic/score/min"],
    highest: metrics["critic/score/max"],
    failed: metrics["reward/failed_fraction"],
  }));
}

test.each(["pipeline.lag=0", "pipeline.lag=1", "pipeline={mode: streaming, maxStaleness: 1}"])(
  "S1: is asked again, by the version that it has now, about the groups of the step that the other judged: %s",
  async (pipeline) => {
    const { asked, plan } = await serveChanging((call) => (call < BEFORE ? "1" : "2"));
    const steps = await scoresOf(plan([pipeline]), "changing");
    expect(steps).toHaveLength(6);
    for (const { lowest, highest, failed } of steps) {
      expect(highest).toBe(lowest);
      expect(failed).toBe(0);
    }
    expect(steps.at(-1)).toMatchObject({ highest: 2 });
    expect(new Set(asked.map(({ wanted }) => wanted))).toEqual(new Set(["", "2"]));
  },
);

test("S1: one that never settles is asked once more and no oftener; what is of another version then has failed, by name", async () => {
  const { asked, plan } = await serveChanging((call) => String(1 + (call % 2)));
  const folder = temporaryFolder("unsettled");
  const local = await startLocalRun(plan(["pipeline.lag=0", "output.samplesPerStep=16"]), {
    outDir: folder,
    baseDir: folder,
  });
  expect(await local.finished).toMatchObject({ status: "completed" });
  for (const { metrics } of stepsOf(folder)) {
    expect(metrics["critic/score/max"]).toBe(metrics["critic/score/min"]);
  }
  const times = new Map<string, number>();
  for (const { step, group } of asked)
    times.set(`${step}/${group}`, (times.get(`${step}/${group}`) ?? 0) + 1);
  expect(Math.max(...times.values())).toBe(2);
  expect(readFileSync(join(folder, "samples.jsonl"), "utf8")).toMatch(
    /mine: SCORER_VERSION: scored by version [12]; [12] is pinned/,
  );
});

test.skipIf(program.absent)(
  `S1: over JetStream the question outlives a reward worker that is killed with it${program.note}`,
  async () => {
    let onSecond: () => void = () => undefined;
    const { asked, plan } = await serveChanging((call) => (call < BEFORE ? "1" : "2"), {
      onPinned: () => onSecond(),
    });
    const folder = temporaryFolder("killed");
    const resolved = plan(["pipeline.lag=0"]);
    const file = { uid: "changing", baseDir: folder, run: resolved };
    writeFileSync(join(folder, "plan.json"), JSON.stringify(file));
    const nats = await startNatsServer({ path: program.path, folder: temporaryFolder("nats") });
    onTestFinished(() => nats.stop("SIGKILL"));
    const killed: number[] = [];
    const run = await startProcessesRun(resolved, {
      outDir: folder,
      uid: "changing",
      environment: { ...process.env, NATS_URL: nats.url },
    });
    onSecond = () => {
      const pid = run.children().find(({ role }) => role === "reward")?.pid;
      if (pid === undefined || killed.length > 0) return;
      killed.push(pid);
      process.kill(pid, "SIGKILL");
    };
    expect(await run.finished).toMatchObject({ status: "completed" });
    expect(killed).toHaveLength(1);
    for (const { metrics } of stepsOf(folder)) {
      expect(metrics["critic/score/max"]).toBe(metrics["critic/score/min"]);
      expect(metrics["reward/failed_fraction"]).toBe(0);
    }
    // Both groups of version 1, and one of them once more, of which the answer died with the worker.
    expect(asked.filter(({ wanted }) => wanted === "2").length).toBeGreaterThanOrEqual(3);
  },
);

test("D1: one that does not change is asked once", async () => {
  const { asked, plan } = await serveChanging(() => "1");
  await scoresOf(plan(), "constant");
  expect(asked).toHaveLength(6 * 4);
  expect(new Set(asked.map(({ wanted }) => wanted))).toEqual(new Set([""]));
});
