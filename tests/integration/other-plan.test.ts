/**
 * An actor and a reward worker of another plan join a run: what they would make cannot count (D1b). They hand the run's work back,
 * the learner names them, and the weights are those of the undisturbed run (D1).
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { openActor } from "@oarlock/actor";
import { startNatsServer } from "@oarlock/bus";
import type { Bus } from "@oarlock/bus";
import { startLocalRun } from "@oarlock/cli/local";
import { openReward } from "@oarlock/reward";
import { LearnerService } from "@oarlock/proto";
import { openChannel } from "@oarlock/rpc";
import { Lifecycle, silentLog, systemClock } from "@oarlock/runtime";
import { requireNatsServer, temporaryFolder } from "@oarlock/testkit";
import { openModel } from "@oarlock/workload";
import { expect, onTestFinished, test } from "vitest";
import { additionPlan } from "./addition-plan.ts";
import { service } from "./service-child.ts";

const program = requireNatsServer();

const PLAN = ["stages.sft.sft.steps=2", "stages.grpo.grpo.steps=2", "evaluation.every=100"];
/** Its rewards are others, under the same names. */
const OTHER = [
  ...PLAN,
  "stages.grpo.grpo.rewards=[{ name: answer, type: exact, weight: 1, exact: {} }, " +
    "{ name: short, type: length, weight: 0.5, length: { unit: tokens, min: 3, max: 4, softness: 1 } }]",
];

test("D1, D1b, L1: they make nothing of it, and the run's status says who they are", async () => {
  const [run, other] = [additionPlan(PLAN), additionPlan(OTHER)];
  const [outDir, calmDir] = [temporaryFolder("strangers"), temporaryFolder("calm")];
  const calm = await startLocalRun(run, { outDir: calmDir, baseDir: calmDir });
  const { policy } = await calm.finished;

  const uid = "strangers-1";
  const lifecycle = new Lifecycle({ name: "strangers" });
  onTestFinished(() => lifecycle.end("the test is over"));
  const join = async (bus: Bus) => {
    const model = await openModel(other.spec.model, { baseDir: outDir, seed: other.spec.seed });
    const parts = { run: other, uid, bus, model, lifecycle, clock: systemClock, log: silentLog };
    const config = { host: "127.0.0.1", port: 0, graceMs: 0 };
    const { actor } = await openActor({ ...parts, config: { ...config, instance: "actor-7" } });
    const worker = { ...config, instance: "reward-7" };
    const { reward } = await openReward({ ...parts, baseDir: outDir, config: worker });
    return { actor, reward };
  };
  let joined: ReturnType<typeof join> | undefined;
  const busFor = (bus: Bus, service: string): Bus => {
    if (service === "reward-0") joined = join(bus);
    return bus;
  };
  const local = await startLocalRun(run, { uid, outDir, baseDir: outDir, busFor });
  using channel = openChannel(local.addresses.learner);
  const learner = channel.client(LearnerService);
  const heard = new Set<string>();
  const asking = setInterval(() => {
    const status = learner.getRunStatus({}, { timeoutMs: 1_000 });
    status.then(({ run: said }) => heard.add(said?.message ?? "")).catch(() => undefined); // it has ended
  }, 100);
  onTestFinished(() => clearInterval(asking));
  expect(await local.finished).toMatchObject({ status: "completed", policy });
  const { actor, reward } = (await joined)!;
  expect(actor.state()).toMatchObject({ groupsCompleted: 0, itemsParked: 0 });
  expect(reward.state()).toMatchObject({ trajectoriesScored: 0, trajectoriesFailed: 0, batchesParked: 0 });
  expect(reward.state().batchesHandedBack).toBeGreaterThan(0);
  const named = `this run's plan is ${run.digest.slice(0, 12)}, and who follows another hands its work back: `;
  const stranger = `reward-7 (plan ${other.digest.slice(0, 12)})`;
  expect([...heard].filter((said) => said.includes(named) && said.includes(stranger))).not.toEqual([]);
});

test.skipIf(program.absent)(
  `L1, D1: where all actors do, the learner says it soon, and goes on once one of its plan is there${program.note}`,
  async () => {
    const run = additionPlan(PLAN);
    const calmDir = temporaryFolder("calm");
    const calm = await startLocalRun(run, { outDir: calmDir, baseDir: calmDir });
    const { policy } = await calm.finished;
    const server = await startNatsServer({ path: program.path, folder: temporaryFolder("nats") });
    onTestFinished(() => server.stop("SIGKILL"));
    const settings = (plan: typeof run) => {
      const outDir = temporaryFolder("apart");
      const text = JSON.stringify({ uid: "strangers-2", baseDir: outDir, run: plan });
      writeFileSync(join(outDir, "plan.json"), text);
      return { NATS_URL: server.url, OARLOCK_PLAN: join(outDir, "plan.json"), OARLOCK_OUT: outDir };
    };
    const own = settings(run);
    const learner = service("learner", { ...own, OARLOCK_STALL_WARN_MS: "1000" });
    service("reward", own);
    service("actor", { ...settings(additionPlan(OTHER)), OARLOCK_INSTANCE: "actor-7" });
    const other = additionPlan(OTHER).digest.slice(0, 12);
    const cause = `who follows another hands its work back: actor-7 (plan ${other})`;
    const said = () => learner.lines.filter((line) => line.includes('"type":"stalled"')).join("\n");
    await expect.poll(said, { timeout: 30_000 }).toContain(cause);
    service("actor", own);
    expect(await learner.exit, learner.log.join("\n")).toBe(0);
    expect(JSON.parse(learner.lines.at(-1) ?? "{}")).toMatchObject({ type: "ended", policy });
  },
);
