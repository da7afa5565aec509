/**
 * Scorers that get another version while a run goes on: every group is judged by the version that it was issued with, whatever
 * is killed, and the run stays a function of its plan and its replacements (D1).
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { startNatsServer } from "@oarlock/bus";
import { startLocalRun } from "@oarlock/cli/local";
import type { LocalRun } from "@oarlock/cli/local";
import { startProcessesRun } from "@oarlock/cli/processes";
import { loadModel, saveModel } from "@oarlock/models";
import { LearnerService, RewardScope, RewardService } from "@oarlock/proto";
import type { ScoreRequest } from "@oarlock/proto";
import { parseMetrics } from "@oarlock/report";
import type { MetricsRecord } from "@oarlock/report";
import { openChannel, RpcServer } from "@oarlock/rpc";
import type { ResolvedRun } from "@oarlock/runfile";
import { silentLog } from "@oarlock/runtime";
import { requireNatsServer, suiteFolder, temporaryFolder } from "@oarlock/testkit";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { additionPlan } from "./addition-plan.ts";
import { rlhfPlan, writePairs } from "./rlhf-plan.ts";

const program = requireNatsServer();
const STEPS = 8;
/** The first step of the new version, as metrics count them. */
const FROM = 5;

function stepsOf(folder: string, stage: string): readonly MetricsRecord[] {
  const records = parseMetrics(readFileSync(join(folder, "metrics.jsonl"), "utf8"));
  return records.filter((record) => record.kind === "step" && record.stage === stage);
}

const digestsOf = (folder: string, stage: string): string[] =>
  stepsOf(folder, stage).map(({ policyDigest }) => policyDigest);

interface Asked {
  readonly scorer: string;
  readonly model?: string;
  readonly version?: string;
  readonly step?: number;
}

async function replace(learner: string, request: Asked) {
  using channel = openChannel(learner);
  return await channel.client(LearnerService).replaceScorer(request, { timeoutMs: 60_000 });
}

const refusal = (learner: string, request: Asked): Promise<string> =>
  replace(learner, request).then(
    () => "replaced",
    (reason: unknown) => String(reason),
  );

async function start(plan: ResolvedRun, folder: string, resume = false): Promise<LocalRun> {
  return startLocalRun(plan, { outDir: folder, baseDir: folder, uid: "replaced", resume });
}

describe("a reward model that is replaced", () => {
  let plan: ResolvedRun;
  /** Steps of PPO without a replacement, and with one. */
  let [plain, replaced]: [string[], string[]] = [[], []];
  let [successor, policy] = ["", ""];

  const shared = suiteFolder("replaced");
  const folderOf = (label: string): string => {
    const folder = join(shared, label);
    mkdirSync(folder);
    return folder;
  };

  beforeAll(async () => {
    const folder = folderOf("plain");
    writePairs(folder);
    plan = await rlhfPlan(folder, [`stages.ppo.ppo.steps=${STEPS}`, "pipeline.lag=1", "compute.actors=2"]);
    await (
      await start(plan, folder)
    ).finished;
    plain = digestsOf(folder, "ppo");
    policy = join(folder, "final");
    // As if it had been trained again: of the same shape, with other weights.
    const { weights, tokenizer, ...model } = await loadModel(join(folder, "models/rm"));
    if (tokenizer === undefined) throw new Error("the reward model has no tokenizer");
    successor = join(shared, "successor");
    await saveModel(successor, { ...model, tokenizer, weights: weights.map((weight) => weight * 1.25) });

    const undisturbed = folderOf("undisturbed");
    writePairs(undisturbed);
    const local = await start(plan, undisturbed);
    const made = await replace(local.addresses.learner, {
      scorer: "preferred",
      model: successor,
      step: FROM,
    });
    expect(made).toMatchObject({ stageName: "ppo", step: FROM });
    expect(made.version).toMatch(/^sha256:[0-9a-f]{64}$/);
    await local.finished;
    replaced = digestsOf(undisturbed, "ppo");
  });

  test("judges from its step on, and nothing before it", () => {
    expect(plain).toHaveLength(STEPS);
    expect(replaced.slice(0, FROM - 1)).toEqual(plain.slice(0, FROM - 1));
    expect(replaced[FROM - 1]).not.toBe(plain[FROM - 1]);
  });

  test.skipIf(program.absent)(
    `D1: with learner and reward worker killed around the step, several processes give the same weights${program.note}`,
    async () => {
      const folder = temporaryFolder("killed");
      writePairs(folder);
      writeFileSync(
        join(folder, "plan.json"),
        JSON.stringify({ uid: "replaced", baseDir: folder, run: plan }),
      );
      const nats = await startNatsServer({ path: program.path, folder: temporaryFolder("nats") });
      onTestFinished(() => nats.stop("SIGKILL"));
      let asked: Promise<unknown> | undefined;
      const killed = new Set<string>();
      const run = await startProcessesRun(plan, {
        outDir: folder,
        uid: "replaced",
        environment: { ...process.env, NATS_URL: nats.url },
        onEvent: (event) => {
          const child = (role: string) => run.children().find((one) => one.role === role);
          const kill = (role: string, moment: string): void => {
            const pid = child(role)?.pid;
            if (pid === undefined || killed.has(moment)) return;
            killed.add(moment);
            process.kill(pid, "SIGKILL");
          };
          if (event.type === "stage" && event.stage === "rm") {
            asked ??= replace(child("learner")?.address ?? "", {
              scorer: "preferred",
              model: successor,
              step: FROM,
            });
            asked.catch(() => undefined);
          }
          if (event.type !== "step" || event.stage !== "ppo") return;
          if (event.step === FROM - 1) kill("learner", "before");
          if (event.step === FROM + 1) kill("reward", "after");
          if (event.step === FROM + 1) kill("learner", "after");
        },
      });
      expect(await run.finished).toMatchObject({ status: "completed" });
      await asked;
      expect(killed).toEqual(new Set(["before", "after"]));
      expect(digestsOf(folder, "ppo")).toEqual(replaced);
    },
  );

  test("T3: abandoned after it was asked for and resumed, it is judged by it; what cannot be is refused (X1)", async () => {
    const folder = temporaryFolder("resumed");
    writePairs(folder);
    const first = await start(plan, folder);
    const { learner } = first.addresses;
    expect(await refusal(learner, { scorer: "nobody", version: "2" })).toMatch(
      /SCORER_UNKNOWN.*"nobody".*accepted: preferred/,
    );
    expect(await refusal(learner, { scorer: "short", version: "2" })).toMatch(
      /SCORER_REPLACE_REFUSED.*type length; accepted: model, http, grpc and judge/,
    );
    expect(await refusal(learner, { scorer: "preferred", version: "2" })).toMatch(
      /SCORER_REPLACE_REFUSED.*accepted: model, the folder/,
    );
    expect(await refusal(learner, { scorer: "preferred", model: policy })).toMatch(
      /REWARD_MODEL_INVALID.*is a language model/,
    );
    expect(await refusal(learner, { scorer: "preferred", model: successor, step: 99 })).toMatch(
      /SCORER_REPLACE_REFUSED.*step 99 of ppo does not exist; accepted: \d+ to 8/,
    );
    const made = await replace(learner, { scorer: "stage/rm", model: successor, step: FROM });
    // The same again is the same; another one waits.
    expect(await replace(learner, { scorer: "preferred", model: successor })).toEqual(made);
    await first.abandon();
    const second = await start(plan, folder, true);
    await second.finished;
    expect(digestsOf(folder, "ppo")).toEqual(replaced);
  });
});

/** As `serve`, of a scorer behind HTTP: which group steps and versions it was asked for is in its verdicts alone. */
async function serveHttp(versions: readonly string[]) {
  const asked: string[] = [];
  const server = createServer(async (request, response) => {
    const parts: Uint8Array[] = [];
    for await (const part of request) parts.push(part);
    const body: { readonly version?: string; readonly samples: readonly { readonly completion: string }[] } =
      JSON.parse(Buffer.concat(parts).toString());
    const wanted = body.version ?? "";
    const version = versions.includes(wanted) ? wanted : (versions[0] ?? "");
    asked.push(wanted);
    const sign = version === "8" ? -1 : 1;
    const results = body.samples.map(({ completion }) => ({ score: sign * (1 + completion.length) }));
    response.end(JSON.stringify({ version, results }));
  });
  return { asked, url: await listen(server, "/score") };
}

/** The URL of a path of the server, which is closed with the test. */
async function listen(server: Server, path: string): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  // What a socket server listens at is an address with a port.
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`;
}

/** Serves these versions of a scorer that likes completions longer (7) or shorter (8); the first where none is asked for. */
async function serve(versions: readonly string[], set: readonly string[] = []) {
  const seen: ScoreRequest[] = [];
  const server = new RpcServer({ host: "127.0.0.1", port: 0, log: silentLog });
  server.add(RewardService, {
    async score(request) {
      seen.push(request);
      const wanted = request.scorers[0]?.version ?? "";
      const version = versions.includes(wanted) ? wanted : (versions[0] ?? "");
      const results = request.texts.map(({ completion }) => {
        const value = {
          scope: RewardScope.TRAJECTORY,
          values: [completion.length * (version === "8" ? -1 : 1)],
        };
        return {
          rewards: [{ name: "mine", scorerVersion: version, verdict: { case: "scored" as const, value } }],
        };
      });
      return { results };
    },
    async getStatus() {
      return {};
    },
  });
  const address = await server.listen();
  onTestFinished(() => server.close());
  const plan = additionPlan([
    `stages.grpo.grpo.rewards=[{name: mine, type: grpc, grpc: {address: "${address}"}, service: {version: "7", deterministic: true}}]`,
    "evaluation.metric=mine",
    ...set,
  ]);
  return { seen, plan };
}

describe("a scorer in another process that is replaced", () => {
  test("is asked for the version that each group pins", async () => {
    const { seen, plan } = await serve(["7", "8"]);
    const folder = temporaryFolder("versions");
    const local = await start(plan, folder);
    const made = await replace(local.addresses.learner, { scorer: "mine", version: "8", step: 4 });
    expect(made).toMatchObject({ stageName: "grpo", step: 4, version: "8" });
    await local.finished;
    const asked = seen.flatMap(({ trajectories, scorers }) =>
      // Of the second stage; the first is evaluated too, before the replacement.
      trajectories.flatMap(({ group }) =>
        group?.stage === 1 ? [`step ${group.step + 1} by ${scorers[0]?.version}`] : [],
      ),
    );
    // Rollouts of steps 1 to 6; evaluations after 0, 3 and 6 steps are pinned as the steps that would follow.
    const wanted = [1, 2, 3, 4, 5, 6, 7].map((step) => `step ${step} by ${step < 4 ? 7 : 8}`);
    expect(new Set(asked)).toEqual(new Set(wanted));
    const rewards = stepsOf(folder, "grpo").map(({ metrics }) => metrics["critic/score/mean"] ?? Number.NaN);
    expect(rewards.slice(0, 3).every((reward) => reward > 0)).toBe(true);
    expect(rewards.slice(3).every((reward) => reward < 0)).toBe(true);
  });

  test("S1: an answer of another version than the pinned one is a failure, and no score", async () => {
    const { plan } = await serve(["7"]);
    const folder = temporaryFolder("stale");
    const local = await start(plan, folder);
    await replace(local.addresses.learner, { scorer: "mine", version: "8", step: 4 });
    await local.finished;
    const failed = stepsOf(folder, "grpo").map(({ metrics }) => metrics["reward/failed_fraction"]);
    expect(failed).toEqual([0, 0, 0, 1, 1, 1]);
  });

  test("D1: behind HTTP it is asked for the version too, and the same replacement gives the same weights", async () => {
    const { asked, url } = await serveHttp(["7", "8"]);
    const plan = additionPlan([
      `stages.grpo.grpo.rewards=[{name: mine, type: http, http: {url: "${url}"}, service: {version: "7", deterministic: true}}]`,
      "evaluation.metric=mine",
    ]);
    const digests: string[][] = [];
    for (const label of ["http", "again"]) {
      const folder = temporaryFolder(label);
      const local = await start(plan, folder);
      await replace(local.addresses.learner, { scorer: "mine", version: "8", step: 4 });
      await local.finished;
      const rewards = stepsOf(folder, "grpo").map(
        ({ metrics }) => metrics["critic/score/mean"] ?? Number.NaN,
      );
      expect(rewards.map(Math.sign)).toEqual([1, 1, 1, -1, -1, -1]);
      digests.push(digestsOf(folder, "grpo"));
    }
    expect(new Set(asked)).toEqual(new Set(["7", "8"]));
    expect(digests[1]).toEqual(digests[0]);
  });

  test("a judge's successor is another model of its API, from its step on", async () => {
    const asked: string[] = [];
    const server = createServer(async (request, response) => {
      const parts: Uint8Array[] = [];
      for await (const part of request) parts.push(part);
      const { model }: { readonly model: string } = JSON.parse(Buffer.concat(parts).toString());
      asked.push(model);
      const content = model === "kind-2" ? "9" : "1";
      response.end(JSON.stringify({ model, choices: [{ message: { content }, finish_reason: "stop" }] }));
    });
    const url = await listen(server, "/v1");
    const plan = additionPlan([
      `stages.grpo.grpo.rewards=[{name: judged, type: judge, judge: {url: "${url}", model: kind-1, rubric: kind}}]`,
      "evaluation.metric=judged",
    ]);
    const folder = temporaryFolder("judge");
    const local = await start(plan, folder);
    const made = await replace(local.addresses.learner, { scorer: "judged", version: "kind-2", step: 4 });
    expect(made).toMatchObject({ stageName: "grpo", step: 4, version: "kind-2" });
    await local.finished;
    const steps = stepsOf(folder, "grpo").map(({ metrics }) => metrics);
    expect(steps.map((metrics) => metrics["critic/score/min"])).toEqual([1, 1, 1, 9, 9, 9]);
    expect(steps.map((metrics) => metrics["critic/score/max"])).toEqual([1, 1, 1, 9, 9, 9]);
    expect(new Set(asked)).toEqual(new Set(["kind-1", "kind-2"]));
  });

  test("in streaming mode each group is judged by the version of its place in the data, and by no other", async () => {
    const { seen, plan } = await serve(
      ["7", "8"],
      [
        "pipeline={mode: streaming, maxStaleness: 2}",
        "compute.actors=2",
        "stages.sft.sft.steps=2",
        "stages.grpo.grpo.steps=8",
      ],
    );
    const folder = temporaryFolder("streaming");
    const local = await start(plan, folder);
    const made = await replace(local.addresses.learner, { scorer: "mine", version: "8", step: FROM });
    expect(made).toMatchObject({ stageName: "grpo", step: FROM, version: "8" });
    expect(await local.finished).toMatchObject({ status: "completed" });
    const asked = seen.flatMap(({ trajectories, scorers }) =>
      trajectories.flatMap(({ group }) =>
        group?.stage === 1 ? [`step ${group.step + 1} by ${scorers[0]?.version}`] : [],
      ),
    );
    for (const one of asked) expect(one).toMatch(/step [1-4] by 7|step ([5-9]|\d\d) by 8/);
    expect(new Set(asked.map((one) => one.at(-1)))).toEqual(new Set(["7", "8"]));
    // A batch holds the groups that are whole first, of older steps too: the learner refuses a score of another version than its group's.
    const failed = stepsOf(folder, "grpo").map(({ metrics }) => metrics["reward/failed_fraction"]);
    expect(failed).toEqual(Array.from({ length: 8 }, () => 0));
  });
});
