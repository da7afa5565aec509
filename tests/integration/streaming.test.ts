/**
 * Streaming mode, whole: real engines, services and buses. Weights change while sequences are generated, groups are trained
 * once or dropped with a reason, and what the lockstep tests pin for bits is pinned here for identities.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startNatsServer } from "@oarlock/bus";
import { readNewestCheckpoint } from "@oarlock/checkpoint";
import { startLocalRun } from "@oarlock/cli/local";
import type { LocalRunOptions, RunEvent } from "@oarlock/cli/local";
import { startProcessesRun } from "@oarlock/cli/processes";
import { parseMetrics, parseSamples } from "@oarlock/report";
import type { MetricsRecord } from "@oarlock/report";
import { groupsDropped } from "@oarlock/run";
import type { Ledger, StreamCursor } from "@oarlock/run";
import type { ResolvedRun } from "@oarlock/runfile";
import { requireNatsServer, temporaryFolder } from "@oarlock/testkit";
import { describe, expect, onTestFinished, test } from "vitest";
import { additionPlan } from "./addition-plan.ts";
import { delayedBus } from "./delayed-bus.ts";

const program = requireNatsServer();
const STEPS = 12;
const GROUPS = 4;
const GROUP_SIZE = 4;
const STREAMING = [
  "pipeline={mode: streaming, maxStaleness: 2}",
  "compute.actors=3",
  "compute.slots=4",
  "stages.sft.sft.steps=2",
  `stages.grpo.grpo.steps=${STEPS}`,
  "evaluation.every=100",
  `output.samplesPerStep=${GROUPS * GROUP_SIZE}`,
];

/** Other orders of arrival for every service. */
const unequal: Partial<LocalRunOptions> = {
  busFor: (bus, service) => {
    const salt = service.length + Number(service.at(-1) ?? 0);
    const random = (n: number): number => ((Math.imul(n + salt, 2_654_435_761) >>> 8) % 1000) / 1000;
    return delayedBus(bus, { maxMs: 25, random });
  },
};

interface Checked {
  readonly steps: readonly MetricsRecord[];
  readonly ledger: Ledger;
}

/** T1: every step has its B groups, no group is in two of them, and every place in the data is trained or dropped. */
async function expectTrainedOnce(outDir: string): Promise<Checked> {
  const steps = parseMetrics(readFileSync(join(outDir, "metrics.jsonl"), "utf8")).filter(
    ({ kind, stage }) => kind === "step" && stage === "grpo",
  );
  expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1));
  const lines = parseSamples(readFileSync(join(outDir, "samples.jsonl"), "utf8"));
  const trained = new Map<string, Set<number>>();
  for (const { kind, group, step } of lines) {
    if (kind !== "rollout" || group === undefined) continue;
    const key = group.join("/");
    trained.set(key, (trained.get(key) ?? new Set()).add(step));
  }
  expect(trained.size).toBe(STEPS * GROUPS);
  expect([...trained.values()].filter((inSteps) => inSteps.size !== 1)).toEqual([]);
  const checkpoint = await readNewestCheckpoint({ folder: join(outDir, "checkpoints") });
  const { ledger, stream } = (checkpoint?.state ?? {}) as { ledger: Ledger; stream?: StreamCursor };
  expect(ledger.groupsTrained).toBe(STEPS * GROUPS);
  expect(stream).toEqual({ issued: STEPS * GROUPS + groupsDropped(ledger), outstanding: [] });
  const most = Math.max(...steps.map(({ metrics }) => metrics["training/staleness/max"] ?? Number.NaN));
  expect(most).toBeLessThanOrEqual(2);
  return { steps, ledger };
}

describe("streaming in one process", () => {
  test("T1, W2: three actors of unequal pace; the ratio to older policies is measured and bounded", async () => {
    const outDir = temporaryFolder("streaming");
    const local = await startLocalRun(additionPlan(STREAMING), { outDir, baseDir: outDir, ...unequal });
    expect(await local.finished).toMatchObject({ status: "completed" });
    const { steps } = await expectTrainedOnce(outDir);
    const all = (name: string): number[] => steps.map(({ metrics }) => metrics[name] ?? Number.NaN);
    expect(Math.max(...all("training/staleness/max"))).toBeGreaterThan(0);
    for (const size of all("rollout_corr/rollout_is_eff_sample_size")) {
      expect(size).toBeGreaterThan(0);
      expect(size).toBeLessThanOrEqual(1 + 1e-6);
    }
    // The first ratio of every step is to the learner's own policy: 1, whoever sampled.
    expect(Math.max(...all("actor/ppo_kl").map(Math.abs))).toBeLessThan(1e-5);
    expect(Math.min(...all("actor/grad_norm"))).toBeGreaterThan(0);
  });

  test("T1, T3: stopped, and abandoned at once, it goes on without training a group twice", async () => {
    const outDir = temporaryFolder("streaming");
    const plan = additionPlan(STREAMING);
    const again = { outDir, baseDir: outDir, uid: "stream-1", ...unequal };
    const stop = new AbortController();
    const onStop = (event: RunEvent): void => {
      if (event.type === "step" && event.globalStep === 5) stop.abort();
    };
    const stopped = await startLocalRun(plan, { ...again, signal: stop.signal, onEvent: onStop });
    expect(await stopped.finished).toMatchObject({ status: "stopped", steps: 5 });
    let reach: () => void = () => undefined;
    const reached = new Promise<void>((resolve) => (reach = resolve));
    const onReach = (event: RunEvent): void => {
      if (event.type === "step" && event.globalStep === 9) reach();
    };
    const abandoned = await startLocalRun(plan, { ...again, resume: true, onEvent: onReach });
    await reached;
    await abandoned.abandon();
    const resumed = await startLocalRun(plan, { ...again, resume: true });
    expect(await resumed.finished).toMatchObject({ status: "completed" });
    await expectTrainedOnce(outDir);
  });

  test.each(["none", "sequence", "token-mask"])("trains with correction %s", async (level) => {
    const outDir = temporaryFolder("streaming");
    const plan = additionPlan([...STREAMING, `pipeline.correction.level=${level}`]);
    const local = await startLocalRun(plan, { outDir, baseDir: outDir, ...unequal });
    await local.finished;
    const { steps } = await expectTrainedOnce(outDir);
    expect(Math.min(...steps.map(({ metrics }) => metrics["actor/grad_norm"] ?? 0))).toBeGreaterThan(0);
  });
});

describe.skipIf(program.absent)(`streaming on several processes${program.note}`, () => {
  test("T1: over JetStream, every group is trained once", async () => {
    const [outDir, uid] = [temporaryFolder("streaming"), "stream-2"];
    const run: ResolvedRun = additionPlan(STREAMING);
    writeFileSync(join(outDir, "plan.json"), JSON.stringify({ uid, baseDir: outDir, run }));
    const server = await startNatsServer({ path: program.path, folder: temporaryFolder("nats") });
    onTestFinished(() => server.stop("SIGKILL"));
    const environment = { ...process.env, NATS_URL: server.url };
    const started = await startProcessesRun(run, { outDir, uid, environment });
    expect(await started.finished).toMatchObject({ status: "completed" });
    await expectTrainedOnce(outDir);
  });
});
