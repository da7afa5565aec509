/**
 * Scorers in other processes under a whole run: a Python one that is killed in mid-batch, and a gRPC one. What an outage may
 * do to a run: make it wait, and nothing else (D1, D1c).
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startLocalRun } from "@oarlock/cli/local";
import type { LocalRunOptions, RunOutcome } from "@oarlock/cli/local";
import { RewardScope, RewardService } from "@oarlock/proto";
import type { ScoreRequest } from "@oarlock/proto";
import { parseMetrics } from "@oarlock/report";
import type { MetricsRecord } from "@oarlock/report";
import { RpcServer } from "@oarlock/rpc";
import { irreproducibleBecause } from "@oarlock/runfile";
import { processWaits, silentLog } from "@oarlock/runtime";
import { freePort, repositoryRoot, requirePython, startProcess } from "@oarlock/testkit";
import type { ServerProcess } from "@oarlock/testkit";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { additionPlan } from "./addition-plan.ts";
import { rlhfPlan, writePairs } from "./rlhf-plan.ts";

const python = requirePython();
const folders: string[] = [];
afterAll(async () => {
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
});

interface Ran {
  readonly outcome: RunOutcome;
  readonly steps: readonly MetricsRecord[];
}

async function runWith(reward: string, options: Partial<LocalRunOptions> = {}): Promise<Ran> {
  const folder = await mkdtemp(join(tmpdir(), "oarlock-scorers-"));
  folders.push(folder);
  const plan = additionPlan([`stages.grpo.grpo.rewards=[${reward}]`, "evaluation.metric=ones"]);
  const local = await startLocalRun(plan, { outDir: folder, baseDir: folder, ...options });
  const outcome = await local.finished;
  const records = parseMetrics(await readFile(join(folder, "metrics.jsonl"), "utf8"));
  return { outcome, steps: records.filter(({ kind, stage }) => kind === "step" && stage === "grpo") };
}

const digestsOf = ({ steps }: Ran): string[] => steps.map(({ policyDigest }) => policyDigest);

const failedOf = ({ steps }: Ran): number[] =>
  steps.map(({ metrics }) => metrics["reward/failed_fraction"] ?? -1);

describe(`a scorer in Python${python.note}`, () => {
  const start = async (port: number): Promise<ServerProcess> => {
    const server = startProcess("scorer", python.path, [
      join(repositoryRoot(), "examples/python-scorer/scorer.py"),
      String(port),
    ]);
    const answers = async (): Promise<boolean> =>
      fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: '{"samples": []}' }).then(
        (response) => response.ok,
        () => false,
      );
    await expect.poll(answers, { timeout: 20_000 }).toBe(true);
    return server;
  };

  test.skipIf(python.absent)(
    "D1c: killed in mid-batch and started again, it changes no bit and no sample is lost",
    async () => {
      const port = await freePort();
      const reward = `{name: ones, type: http, timeoutMs: 60000, http: {url: "http://127.0.0.1:${port}/score"}, service: {deterministic: true}}`;
      let server = await start(port);
      const calm = await runWith(reward);
      expect(calm.outcome.status).toBe("completed");
      expect(calm.steps).toHaveLength(6);

      const waits = (): string[] => processWaits.open().map(({ name }) => name);
      let disturbed: Promise<void> | undefined;
      const disturb = async (): Promise<void> => {
        process.kill(server.pid, "SIGSTOP");
        // A batch is with it now, and will have no answer.
        await expect
          .poll(waits, { timeout: 60_000 })
          .toContainEqual(expect.stringMatching(/^scorer ones at .* to score/));
        await server.kill();
        await expect
          .poll(waits, { timeout: 60_000 })
          .toContainEqual(expect.stringMatching(/^scorer ones at .* to come back: .*cannot be reached/));
        server = await start(port);
      };
      const struck = await runWith(reward, {
        onEvent: ({ type }) => {
          if (type === "step") disturbed ??= disturb();
        },
      });
      await disturbed;
      await server.stop();
      expect(disturbed).toBeDefined();
      expect(struck.outcome.status).toBe("completed");
      expect(digestsOf(struck)).toEqual(digestsOf(calm));
      // The scorer itself fails empty completions, in both runs the same.
      expect(failedOf(struck)).toEqual(failedOf(calm));
    },
    180_000,
  );
});

test("a server of RewardService gets text and tokens, pins and all; S1: what it does not score is masked", async () => {
  const seen: ScoreRequest[] = [];
  const server = new RpcServer({ host: "127.0.0.1", port: 0, log: silentLog });
  server.add(RewardService, {
    async score(request) {
      seen.push(request);
      const results = request.texts.map(({ completion }) => ({
        rewards: [
          completion.startsWith("1")
            ? {
                name: "count",
                verdict: { case: "failed" as const, value: { code: "NO_ONES", reason: "not these" } },
              }
            : {
                name: "count",
                scorerVersion: "7",
                verdict: {
                  case: "scored" as const,
                  value: { scope: RewardScope.TRAJECTORY, values: [completion.length] },
                },
              },
        ],
      }));
      return { results };
    },
    async getStatus() {
      return { scorers: [{ name: "count", version: "7", deterministic: true }] };
    },
  });
  const address = await server.listen();
  const reward = `{name: ones, type: grpc, grpc: {address: "${address}", scorer: count}, service: {version: "7"}, normalize: running, clip: {min: -2, max: 2}}`;
  const ran = await runWith(reward);
  await server.close();
  expect(ran.outcome.status).toBe("completed");
  expect(seen.length).toBeGreaterThan(0);
  for (const { trajectories, texts, scorers } of seen) {
    expect(texts).toHaveLength(trajectories.length);
    expect(scorers).toMatchObject([{ name: "count", version: "7" }]);
    expect(
      trajectories.every(({ tokenIds, prompt }) => tokenIds.length > 0 && prompt?.fieldsJson !== ""),
    ).toBe(true);
  }
  expect(Math.max(...failedOf(ran))).toBeGreaterThan(0);
  expect(Math.max(...failedOf(ran))).toBeLessThan(1);
  const because = irreproducibleBecause(
    additionPlan([`stages.grpo.grpo.rewards=[${reward}]`, "evaluation.metric=ones"]).spec,
  );
  expect(because).toContain("ones (grpc, stage grpo)");
});

describe("scores of tokens", () => {
  /** Likes ones and dislikes nines: scorer `tokens` says it of each token, scorer `whole` of the completion. */
  async function serve(): Promise<string> {
    const likes = (text: string): number => (text === "1" ? 1 : text === "9" ? -1 : 0);
    const server = new RpcServer({ host: "127.0.0.1", port: 0, log: silentLog });
    server.add(RewardService, {
      async score({ texts, trajectories, scorers }) {
        const name = scorers[0]?.name ?? "";
        const results = trajectories.map(({ tokenIds, promptLength }, i) => {
          const completion = texts[i]?.completion ?? "";
          // A token of this tokenizer is a character; the one that ends a completion is none.
          const each = Array.from(tokenIds.slice(promptLength), (_, at) => likes(completion[at] ?? ""));
          const sum = each.reduce((total, value) => total + value, 0);
          const value =
            name === "tokens"
              ? { scope: RewardScope.TOKEN, values: each }
              : { scope: RewardScope.TRAJECTORY, values: [sum] };
          return { rewards: [{ name, verdict: { case: "scored" as const, value } }] };
        });
        return { results };
      },
      async getStatus() {
        return {};
      },
    });
    const address = await server.listen();
    onTestFinished(() => server.close());
    return address;
  }
  const reward = (address: string, scorer: "tokens" | "whole"): string =>
    `{name: ones, type: grpc, grpc: {address: "${address}", scorer: ${scorer}}, service: {deterministic: true${scorer === "tokens" ? ", scope: token" : ""}}}`;

  test("are summed by GRPO: the same weights as of their sum, bit for bit", async () => {
    const address = await serve();
    const tokens = await runWith(reward(address, "tokens"));
    expect(tokens.steps).toHaveLength(6);
    expect(failedOf(tokens)).toEqual([0, 0, 0, 0, 0, 0]);
    expect(digestsOf(tokens)).toEqual(digestsOf(await runWith(reward(address, "whole"))));
  });

  test("are rewards of their tokens in PPO: of the same sum other weights, and the same ones again (D1)", async () => {
    const address = await serve();
    const digests = async (scorer: "tokens" | "whole"): Promise<string[]> => {
      const folder = await mkdtemp(join(tmpdir(), "oarlock-scorers-"));
      folders.push(folder);
      writePairs(folder);
      const plan = await rlhfPlan(folder, [`stages.ppo.ppo.rewards=[${reward(address, scorer)}]`]);
      const local = await startLocalRun(plan, { outDir: folder, baseDir: folder });
      await local.finished;
      const records = parseMetrics(await readFile(join(folder, "metrics.jsonl"), "utf8"));
      const steps = records.filter(({ kind, stage }) => kind === "step" && stage === "ppo");
      expect(steps.map(({ metrics }) => metrics["reward/failed_fraction"])).toEqual([0, 0, 0, 0, 0]);
      return steps.map(({ policyDigest }) => policyDigest);
    };
    const tokens = await digests("tokens");
    expect(await digests("tokens")).toEqual(tokens);
    expect((await digests("whole"))[0]).not.toBe(tokens[0]);
  });
});
