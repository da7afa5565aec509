/**
 * Whole runs in one process, with real engines, services, bus and gRPC: the same plan gives the same weights whatever the
 * number of actors, the order of arrival, and the crashes in between.
 */
import { mkdtemp, readFile, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Bus } from "@oarlock/bus";
import { listCheckpoints } from "@oarlock/checkpoint";
import { ActorService, LearnerService, RewardService } from "@oarlock/proto";
import { parseMetrics } from "@oarlock/report";
import type { MetricsRecord } from "@oarlock/report";
import { AGGREGATIONS } from "@oarlock/rl";
import { openChannel } from "@oarlock/rpc";
import { watchIdleLoop } from "@oarlock/testkit";
import { afterAll, describe, expect, test } from "vitest";
import { startLocalRun } from "@oarlock/cli/local";
import type { LocalRunOptions, RunEvent, RunOutcome } from "@oarlock/cli/local";
import { additionPlan } from "./addition-plan.ts";
import { delayedBus } from "./delayed-bus.ts";
import { beforeStoring } from "./publishing-bus.ts";

const folders: string[] = [];
afterAll(async () => {
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
});

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "oarlock-run-"));
  folders.push(folder);
  return folder;
}

interface Ran {
  readonly outcome: RunOutcome;
  readonly records: readonly MetricsRecord[];
  readonly digests: readonly string[];
  readonly actors: number;
}

/** Runs a plan to its end; the digests are those of every policy version in the record. */
async function runPlan(set: readonly string[], options: Partial<LocalRunOptions> = {}): Promise<Ran> {
  const outDir = options.outDir ?? (await newFolder());
  const local = await startLocalRun(additionPlan(set), { outDir, baseDir: outDir, ...options });
  const outcome = await local.finished;
  const records = await readRecords(outDir);
  return { outcome, records, digests: digestsOf(records), actors: local.addresses.actors.length };
}

async function readRecords(outDir: string): Promise<MetricsRecord[]> {
  return parseMetrics(await readFile(join(outDir, "metrics.jsonl"), "utf8"));
}

function digestsOf(records: readonly MetricsRecord[]): string[] {
  return records.filter(({ kind }) => kind === "step").map(({ policyDigest }) => policyDigest);
}

/** Delays by a hash of the message's number and `seed`: other orders of arrival for every seed. */
const shuffled = (seed: number): Partial<LocalRunOptions> => ({
  busFor: (bus, service) => {
    const salt = seed + service.length + Number(service.at(-1) ?? 0);
    const random = (n: number): number =>
      ((Math.imul(n + 1, 2_654_435_761) ^ Math.imul(salt, 40_503)) >>> 8) / 2 ** 24;
    return delayedBus(bus, { maxMs: 15, random });
  },
});

const LAGGING = ["pipeline.lag=1"];
let undisturbed: Promise<Ran> | undefined;
/** The run at lag 1 that nothing happens to: what all others must equal. */
const wholeRun = (): Promise<Ran> => (undisturbed ??= runPlan(LAGGING));

function withResolver(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => undefined;
  return { promise: new Promise<void>((settle) => (resolve = settle)), resolve: () => resolve() };
}

describe("a local run", () => {
  test("D1: two runs of one plan give the same weights after every step, and they learn", async () => {
    const first = await wholeRun();
    const second = await runPlan(LAGGING);
    expect(first.outcome.status).toBe("completed");
    expect(first.digests).toHaveLength(12);
    expect(new Set(first.digests).size).toBe(12);
    // Otherwise nothing but weight decay would be compared.
    const gradients = first.records.flatMap(({ metrics }) => metrics["actor/grad_norm"] ?? []);
    expect(Math.min(...gradients)).toBeGreaterThan(0);
    expect(second.digests).toEqual(first.digests);
    const moments = first.outcome.evaluations.map(({ stage, when }) => `${stage} ${when}`);
    expect(moments).toEqual(["sft before", "sft step", "sft after", "grpo step", "grpo after"]);
  });

  test("D1: lag 1 with one and with three actors, and with messages delayed at random, give the same weights", async () => {
    const [one, three, late] = [
      await wholeRun(),
      await runPlan([...LAGGING, "compute.actors=3"], shuffled(1)),
      await runPlan([...LAGGING, "compute.actors=3"], shuffled(2)),
    ];
    expect([one.actors, three.actors, late.actors]).toEqual([1, 3, 3]);
    expect(three.digests).toEqual(one.digests);
    expect(late.digests).toEqual(one.digests);
  });

  test("W1: at lag 1 a step is trained while the version before it is still being published", async () => {
    // Whatever would wait for a version of the second stage is left out.
    const set = [...LAGGING, "evaluation.every=1000", "checkpoints.every=1000"];
    const trained = new Map([8, 9, 10, 11, 12].map((step) => [step, withResolver()]));
    const held: number[] = [];
    const busFor = (bus: Bus): Bus =>
      beforeStoring(bus, async (name) => {
        const version = Number(/^manifest\/\d+\/(\d+)-/.exec(name)?.[1]);
        const successor = version < 7 ? undefined : trained.get(version + 1);
        if (successor === undefined) return;
        await successor.promise;
        held.push(version);
      });
    const onEvent = (event: RunEvent): void => {
      if (event.type === "step") trained.get(event.globalStep)?.resolve();
    };
    const slow = await runPlan(set, { busFor, onEvent });
    expect(held).toEqual([7, 8, 9, 10, 11]);
    expect(slow.digests).toEqual((await runPlan(set)).digests);
  });

  test("D1: the lag is part of the plan: lag 0 and lag 1 agree in the first stage and in lag 1's first step only", async () => {
    const [strict, lagging] = [await runPlan(["pipeline.lag=0"]), await wholeRun()];
    const common = strict.digests.findIndex((digest, i) => digest !== lagging.digests[i]);
    // Both generate step 0 by the stage's first policy, and only lag 0 generates step 1 by its successor.
    expect(common).toBe(7);
  });

  test("T3: a run stopped by its signal at lag 1 continues to the same weights, whoever computes the reference", async () => {
    const whole = await wholeRun();
    const byActors = [...LAGGING, "stages.grpo.grpo.reference.computedBy=actors", "compute.actors=2"];
    for (const [stopAt, set] of [
      [4, LAGGING],
      [9, byActors],
    ] as const) {
      const outDir = await newFolder();
      const stop = new AbortController();
      const onEvent = (event: RunEvent): void => {
        if (event.type === "step" && event.globalStep === stopAt) stop.abort();
      };
      const stopped = await runPlan(set, { outDir, uid: "run-1", signal: stop.signal, onEvent });
      expect(stopped.outcome).toMatchObject({ status: "stopped", steps: stopAt });
      const resumed = await runPlan(set, { outDir, uid: "run-1", resume: true });
      expect(resumed.digests).toEqual(whole.digests);
      expect(resumed.outcome.evaluations.map(({ metrics }) => withoutTiming(metrics))).toEqual(
        whole.outcome.evaluations.map(({ metrics }) => withoutTiming(metrics)),
      );
    }
  });

  test("T3: a run abandoned at once at lag 1 continues from its last checkpoint to the same weights", async () => {
    const whole = await wholeRun();
    const outDir = await newFolder();
    const run = additionPlan(LAGGING);
    let reach: () => void = () => undefined;
    const reached = new Promise<void>((resolve) => (reach = resolve));
    const onEvent = (event: RunEvent): void => {
      if (event.type === "step" && event.globalStep === 9) reach();
    };
    const local = await startLocalRun(run, { outDir, baseDir: outDir, uid: "run-2", onEvent });
    await reached;
    await local.abandon();
    expect(digestsOf(await readRecords(outDir)).length).toBeLessThan(12);
    const resumed = await runPlan(LAGGING, { outDir, uid: "run-2", resume: true });
    expect(resumed.digests).toEqual(whole.digests);
  });

  test("T3: where the newest checkpoint is damaged the run says so and continues from the one before it", async () => {
    const whole = await wholeRun();
    const outDir = await newFolder();
    const stop = new AbortController();
    const onEvent = (event: RunEvent): void => {
      if (event.type === "step" && event.globalStep === 5) stop.abort();
    };
    const set = [...LAGGING, "checkpoints={every: 2, keep: 3}"];
    await runPlan(set, { outDir, uid: "run-3", signal: stop.signal, onEvent });
    const [newest] = await listCheckpoints(join(outDir, "checkpoints"));
    await truncate(join(newest?.path ?? "", "weights.bin"), 100);
    const said: RunEvent[] = [];
    const resumed = await runPlan(set, {
      outDir,
      uid: "run-3",
      resume: true,
      onEvent: (event) => void said.push(event),
    });
    expect(said.filter(({ type }) => type === "skipped")).toMatchObject([{ path: newest?.path }]);
    expect(resumed.digests).toEqual(whole.digests);
  });

  test.each([
    "advantage=dr-grpo",
    ...AGGREGATIONS.map((name) => `aggregation=${name}`),
    "kl.placement=reward",
    "kl={placement: none, coefficient: 0}",
    "kl.estimator=k2",
    "dualClip=3",
  ])("trains with %s", async (choice) => {
    const { records } = await runPlan([
      `stages.grpo.grpo.${choice}`,
      "stages.sft.sft.steps=2",
      "stages.grpo.grpo.steps=2",
      "checkpoints.every=100",
      "evaluation.every=100",
    ]);
    const gradients = records.flatMap(({ metrics }) => metrics["actor/grad_norm"] ?? []);
    expect(gradients).toHaveLength(4);
    expect(gradients.every((norm) => norm > 0 && Number.isFinite(norm))).toBe(true);
  });

  test("T1, Q1: every group is trained once, and the services say how they are while they are busy (P1)", async () => {
    const outDir = await newFolder();
    const idle = await watchIdleLoop();
    const plan = additionPlan([...LAGGING, "stages.grpo.grpo.steps=40"]);
    const local = await startLocalRun(plan, { outDir, baseDir: outDir });
    const channels = [local.addresses.learner, local.addresses.reward, ...local.addresses.actors].map(
      (address) => openChannel(address),
    );
    const [learner, reward, actor] = channels;
    const latencies: number[] = [];
    const ask = async (): Promise<{ phase: number; inFlight: number }> => {
      const startMs = performance.now();
      const { run } = await learner!.client(LearnerService).getRunStatus({});
      latencies.push(performance.now() - startMs);
      return { phase: run?.phase ?? 0, inFlight: run?.groupsInFlight ?? 0 };
    };
    await Promise.all(channels.map((channel) => expect(channel.isServing()).resolves.toBe(true)));
    const bound = 2 * 4;
    let asked = 0;
    const done = local.finished.then(() => true);
    while (
      !(await Promise.race([done, new Promise<false>((resolve) => setTimeout(() => resolve(false), 10))]))
    ) {
      // A server that is gone is one whose run ends now; else this never returns.
      const status = await ask().catch(() => done.then(() => undefined));
      if (status === undefined) break;
      asked += 1;
      expect(status.inFlight).toBeLessThanOrEqual(bound);
      if (asked === 3) {
        const { scorers } = await reward!.client(RewardService).getStatus({});
        expect(scorers.map(({ name }) => name)).toEqual(["answer", "short"]);
        const { policies } = await actor!.client(ActorService).getStatus({});
        expect(policies.length).toBeLessThanOrEqual(2);
      }
    }
    const outcome = await local.finished;
    for (const channel of channels) channel.close();
    expect(asked).toBeGreaterThan(3);
    latencies.sort((a, b) => a - b);
    const boundMs = 100 + 3 * (await idle.maxMs());
    expect(latencies[Math.floor(latencies.length * 0.95)]).toBeLessThan(boundMs);
    expect(outcome.loopDelay.p99Ms).toBeLessThan(boundMs);
  });
});

/** Everything that the plan decides: seconds are not. */
function withoutTiming(metrics: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(metrics).filter(([name]) => !name.startsWith("timing_s/")));
}
