/**
 * Runs on processes of their own, over a real NATS server: the same weights as in one process, an orderly end whenever it is
 * asked for, and refusals that say what is wrong.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { connectJetStreamBus, startNatsServer, subjects } from "@oarlock/bus";
import type { NatsServer } from "@oarlock/bus";
import { startLocalRun } from "@oarlock/cli/local";
import { liveStatus, startProcessesRun } from "@oarlock/cli/processes";
import type { LiveProcess, ProcessesOptions } from "@oarlock/cli/processes";
import { LearnerService, RunPhase } from "@oarlock/proto";
import { parseMetrics } from "@oarlock/report";
import { openChannel } from "@oarlock/rpc";
import { topologyOf } from "@oarlock/run";
import { runDigest, type ResolvedRun } from "@oarlock/runfile";
import { sleep } from "@oarlock/runtime";
import {
  requireGrpcurl,
  requireNatsServer,
  suiteFolder,
  temporaryFolder,
  watchIdleLoop,
} from "@oarlock/testkit";
import { describe, expect, onTestFinished, test } from "vitest";
import { oarlock } from "../e2e/oarlock.ts";
import { additionPlan } from "./addition-plan.ts";
import { rlhfPlan, writePairs } from "./rlhf-plan.ts";
import { service } from "./service-child.ts";
import type { Service } from "./service-child.ts";

const program = requireNatsServer();
const grpcurl = requireGrpcurl();
const UID = "apart-1";
const PLAN = additionPlan(["pipeline.lag=1", "compute.actors=2"]);

async function startNats(): Promise<NatsServer> {
  const server = await startNatsServer({ path: program.path, folder: temporaryFolder("nats") });
  onTestFinished(() => server.stop("SIGKILL"));
  return server;
}

function runFolder(run: ResolvedRun, uid = UID): string {
  const outDir = temporaryFolder("apart");
  writeFileSync(join(outDir, "plan.json"), JSON.stringify({ uid, baseDir: outDir, run }));
  return outDir;
}

function digestsOf(outDir: string): string[] {
  const records = parseMetrics(readFileSync(join(outDir, "metrics.jsonl"), "utf8"));
  return records.filter(({ kind }) => kind === "step").map(({ policyDigest }) => policyDigest);
}

function finalWeights(outDir: string): string {
  return createHash("sha256")
    .update(readFileSync(join(outDir, "final", "model.safetensors")))
    .digest("hex");
}

const shared = suiteFolder("together");
let undisturbed: Promise<string> | undefined;
/** Folder of the plan's run in one process, which is what several must equal. */
const oneProcess = (): Promise<string> =>
  (undisturbed ??= startLocalRun(PLAN, { outDir: shared, baseDir: shared }).then(async ({ finished }) => {
    await finished;
    return shared;
  }));

async function runApart(
  outDir: string,
  server: NatsServer,
  { plan = PLAN, ...options }: Partial<ProcessesOptions> & { readonly plan?: ResolvedRun } = {},
) {
  const environment = { ...process.env, NATS_URL: server.url };
  const started = await startProcessesRun(plan, { outDir, uid: UID, environment, ...options });
  return started.finished;
}

describe.skipIf(program.absent)(`a run on several processes${program.note}`, () => {
  test("D1: gives the weights of one process, bit for bit, and leaves nothing on the bus", async () => {
    const together = await oneProcess();
    const [apart, server] = [runFolder(PLAN), await startNats()];
    let asked: Promise<readonly LiveProcess[]> | undefined;
    const outcome = await runApart(apart, server, {
      onEvent: (event) => {
        if (event.type === "step" && event.globalStep === 7) asked = liveStatus(apart);
      },
    });
    expect(outcome).toMatchObject({ status: "completed", steps: 12, model: join(apart, "final") });
    const answers = (await asked)?.map(({ instance, service }) => [instance, service?.version]);
    expect(answers).toEqual(["learner-0", "reward-0", "actor-0", "actor-1"].map((name) => [name, "0.1.0"]));
    expect(await liveStatus(apart)).toEqual([]);
    expect(digestsOf(apart)).toEqual(digestsOf(together));
    expect(finalWeights(apart)).toBe(finalWeights(together));
    expect(await consumersLeft(server)).toBe(0);
  });

  test("D1: so does RLHF: a reward model goes to the workers, PPO learns from it, a guard ends the stage", async () => {
    const together = temporaryFolder("together");
    writePairs(together);
    const plan = await rlhfPlan(together, [
      "stages.ppo.ppo.guards=[{name: far, watch: kl, reaction: roll-back, limit: 0.000001, window: 3}]",
    ]);
    const local = await startLocalRun(plan, { outDir: together, baseDir: together });
    await local.finished;
    const apart = runFolder(plan);
    writePairs(apart);
    const alarms: string[] = [];
    const outcome = await runApart(apart, await startNats(), {
      plan,
      onEvent: (event) => {
        if (event.type === "alarm") alarms.push(`${event.stage} ${event.step} ${event.guard}`);
      },
    });
    expect(outcome.status).toBe("completed");
    expect(alarms).toHaveLength(1);
    expect(digestsOf(apart)).toEqual(digestsOf(together));
    expect(finalWeights(apart)).toBe(finalWeights(together));
  });

  test("T3: stopped by its signal it drains to a checkpoint, and goes on to the same weights", async () => {
    const together = await oneProcess();
    const [apart, server, stop] = [runFolder(PLAN), await startNats(), new AbortController()];
    const stopped = await runApart(apart, server, {
      signal: stop.signal,
      onEvent: (event) => {
        if (event.type === "step" && event.globalStep === 8) stop.abort();
      },
    });
    expect(stopped.status).toBe("stopped");
    expect(stopped.checkpoint).toContain("checkpoints");
    expect(stopped.steps).toBeLessThan(12);
    const resumed = await runApart(apart, server);
    expect(resumed).toMatchObject({ status: "completed", steps: 12 });
    expect(digestsOf(apart)).toEqual(digestsOf(together));
  });

  test("two runs of one name on one server never meet, nor does one that is made again at once", async () => {
    const server = await startNats();
    const [first, second] = [runFolder(PLAN), runFolder(PLAN, "apart-2")];
    await Promise.all([runApart(first, server), runApart(second, server, { uid: "apart-2" })]);
    // Within the duplicate window: every message id of the first run comes again.
    const again = runFolder(PLAN);
    await runApart(again, server);
    expect(digestsOf(first)).toHaveLength(12);
    expect(digestsOf(second)).toEqual(digestsOf(first));
    expect(digestsOf(again)).toEqual(digestsOf(first));
  });

  test("ends with the reason when a child cannot go on", async () => {
    const [outDir, server] = [runFolder(PLAN), await startNats()];
    writeFileSync(join(outDir, "plan.json"), "{}");
    await expect(runApart(outDir, server)).rejects.toThrow(/CHILD_FAILED.*PLAN_INVALID/);
  });
});

describe.skipIf(program.absent)(`a service's process${program.note}`, () => {
  test("drains on SIGTERM while busy and says so by its exit code; health answers meanwhile (P1)", async () => {
    const run = additionPlan(["pipeline.lag=1", "stages.grpo.grpo.steps=400"]);
    const [outDir, server] = [runFolder(run), await startNats()];
    const environment = {
      NATS_URL: server.url,
      OARLOCK_PLAN: join(outDir, "plan.json"),
      OARLOCK_OUT: outDir,
      OARLOCK_GRACE_MS: "8000",
    };
    const services = [
      service("learner", environment),
      service("actor", { ...environment, OARLOCK_METRICS_PORT: "0" }),
      service("reward", { ...environment, OARLOCK_END_INTERRUPTED: "true" }),
    ];
    const [learner, actor, reward] = services;
    await expect
      .poll(() => learner!.lines.some((line) => line.includes('"stage":"grpo","step":3')), {
        timeout: 30_000,
      })
      .toBe(true);
    const poison = await publishPoison(server, run);
    const channels = services.map((one) => openChannel(one.address() ?? ""));
    const idle = await watchIdleLoop();
    const latencies: number[] = [];
    for (let turn = 0; turn < 20; turn++) {
      for (const channel of channels) {
        const startMs = performance.now();
        expect(await channel.isServing()).toBe(true);
        latencies.push(performance.now() - startMs);
      }
      await sleep(10);
    }
    // Nobody can read it: parked, and named by whoever is asked, while the run goes on.
    const parked = `parked messages of ${poison.stream}: 1, the last one is ${poison.sequence}: `;
    const runStatus = async () => (await channels[0]!.client(LearnerService).getRunStatus({})).run;
    await expect.poll(async () => (await runStatus())?.message, { timeout: 10_000 }).toContain(parked);
    expect((await runStatus())?.phase).toBe(RunPhase.RUNNING);
    writeWhoIsWho(outDir, server, services);
    const shown = await oarlock(["status", outDir], outDir);
    expect(shown.text).toMatch(/learner-0 .*; parked messages of TRAJECTORY: 1, the last one is \d+: .*\S/);
    for (const channel of channels) channel.close();
    // The median, beyond what a thread waits that does nothing: the rest is the machine's, whatever the services do.
    latencies.sort((a, b) => a - b);
    expect(latencies[latencies.length >> 1]).toBeLessThan(100 + (await idle.maxMs()));
    const endedMs: number[] = [];
    // The learner's run is not complete: 0 would tell its supervisor that it is.
    for (const [one, code] of [[learner!, 130] as const, [actor!, 0] as const, [reward!, 130] as const]) {
      const startMs = performance.now();
      one.child.kill("SIGTERM");
      expect(await one.exit, one.log.join("\n")).toBe(code);
      endedMs.push(performance.now() - startMs);
    }
    expect(Math.max(...endedMs)).toBeLessThan(10_000);
    expect(JSON.parse(learner!.lines.at(-1) ?? "{}")).toMatchObject({ type: "ended", status: "stopped" });
    for (const one of services) {
      const started = JSON.parse(one.log.find((line) => line.includes('"message":"started"')) ?? "{}");
      expect(started).toMatchObject({
        version: "0.1.0",
        planDigest: run.digest,
        provider: "cpu",
        device: expect.stringMatching(/./),
        driver: expect.stringMatching(/./),
        bus: "jetstream",
        uid: "apart-1",
        // Its own, and that of whom it works with.
        address: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
        nats: server.url,
      });
      const { metrics } = started as { metrics?: string };
      expect(metrics).toEqual(one === actor ? expect.stringMatching(/^http:.*\/metrics$/) : undefined);
    }
  });

  test.skipIf(grpcurl.absent)(`tells grpcurl what it offers${grpcurl.note}`, async () => {
    const [outDir, server] = [runFolder(PLAN), await startNats()];
    const one = service("reward", { NATS_URL: server.url, OARLOCK_PLAN: join(outDir, "plan.json") });
    await expect.poll(() => one.address(), { timeout: 30_000 }).toBeDefined();
    const ask = async (...what: string[]): Promise<string> => {
      const call = ["-plaintext", one.address() ?? "", ...what];
      return (await promisify(execFile)(grpcurl.path, call)).stdout;
    };
    expect((await ask("list")).split("\n")).toEqual(
      expect.arrayContaining(["grpc.health.v1.Health", "oarlock.v1.RewardService"]),
    );
    expect(await ask("describe", "oarlock.v1.RewardService")).toContain("rpc GetStatus");
    expect(JSON.parse(await ask("grpc.health.v1.Health/Check"))).toEqual({ status: "SERVING" });
    const status: unknown = JSON.parse(await ask("oarlock.v1.RewardService/GetStatus"));
    expect(status).toMatchObject({ service: { instance: "reward-0" } });
  });

  test("X1: refuses settings that are missing or wrong, with exit code 3 and a sentence", async () => {
    const [outDir, server] = [runFolder(PLAN), await startNats()];
    const good = { NATS_URL: server.url, OARLOCK_PLAN: join(outDir, "plan.json") };
    const engine = { ...PLAN.inputs.engine, onnxruntime: "0.9.0", instructionSet: "abacus" };
    const inputs = { ...PLAN.inputs, engine };
    const elsewhere = runFolder({ ...PLAN, inputs, digest: runDigest(PLAN.spec, inputs) });
    const cases = [
      [{ ...good, NATS_URL: "" }, "SETTING_MISSING"],
      [{ ...good, OARLOCK_PLAN: "" }, "SETTING_MISSING"],
      [{ ...good, OARLOCK_PLAN: join(outDir, "none.json") }, "PLAN_MISSING"],
      [{ ...good, OARLOCK_PORT: "many" }, "SETTING_INVALID"],
    ] as const;
    // D1b: on another kind of machine it would compute other bits.
    const foreign = service("actor", { ...good, OARLOCK_PLAN: join(elsewhere, "plan.json") });
    expect(await foreign.exit).toBe(3);
    expect(foreign.log.join("\n")).toContain("ENGINE_MISMATCH");
    await Promise.all(
      cases.map(async ([environment, code]) => {
        const one = service("reward", environment);
        expect(await one.exit).toBe(3);
        expect(one.log.join("\n")).toContain(code);
      }),
    );
  });
});

/** Puts what is no record among the generated groups. */
async function publishPoison(
  server: NatsServer,
  run: ResolvedRun,
): Promise<{ readonly stream: string; readonly sequence: number }> {
  await using bus = await connectJetStreamBus({ servers: server.url });
  const names = subjects(UID);
  const stream = await bus.stream(topologyOf(run, names).streams.trajectories);
  const { sequence } = await stream.publish(names.trajectoryGenerated, Buffer.from("no record"));
  return { stream: names.trajectoryStream, sequence };
}

/** What a supervisor leaves for `oarlock status`, of services that this test started itself. */
function writeWhoIsWho(outDir: string, server: NatsServer, services: readonly Service[]): void {
  const roles = ["learner", "actor", "reward"] as const;
  const children = services.map((one, index) => {
    const role = roles[index] ?? "learner";
    return { role, instance: `${role}-0`, pid: one.child.pid, address: one.address(), restarts: 0 };
  });
  const file = { uid: UID, broker: { servers: server.url }, tls: {}, children };
  writeFileSync(join(outDir, "processes.json"), JSON.stringify(file));
}

/** Consumers of a stream that the run has opened. */
async function consumersLeft(server: NatsServer): Promise<number> {
  await using bus = await connectJetStreamBus({ servers: server.url });
  // What a run opens is opened anew here: a stream that was left behind would be there with its consumers.
  const probe = await bus.stream({
    name: "OARLOCK_apart-1_WORK",
    subjects: ["oarlock.apart-1.probe"],
    retention: "work-queue",
    maxMessages: 1,
    maxBytes: 1_000,
  });
  return (await probe.info()).consumers.length;
}
