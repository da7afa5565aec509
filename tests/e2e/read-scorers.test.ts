/**
 * Reward models that a run reads and does not train, on the real command line: their digest is on every sample, a killed run goes
 * on with them to the same weights, and one that has changed is refused.
 */
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { parseSamples } from "@oarlock/report";
import type { ResolvedRun } from "@oarlock/runfile";
import { requireNatsServer, startFakeHub, temporaryFolder } from "@oarlock/testkit";
import { expect, test } from "vitest";
import { tinyModel } from "../tiny-model.ts";
import { writeTinyScorer } from "../tiny-scorer.ts";
import { digestsOf, oarlock, startOarlock, stepsDone, summaryOf } from "./oarlock.ts";

const nats = requireNatsServer();
const STEPS = 12;
const RUN_FILE = `
apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: read-scorers }
spec:
  seed: 5
  model: ${tinyModel(16)}
  pipeline: { mode: lockstep, lag: 1 }
  stages:
    - name: learn
      type: grpo
      grpo:
        data: { type: task, task: { name: addition, digits: 1, split: train } }
        steps: ${STEPS}
        promptsPerStep: 4
        groupSize: 4
        sampling: { maxNewTokens: 4 }
        rewards:
          - { name: one, type: model, model: { from: ./one } }
          - { name: both, type: ensemble, ensemble: { from: [./one, two], combine: min } }
        optimizer: { learningRate: 0.0005 }
  evaluation:
    data: { type: task, task: { name: addition, digits: 1, split: test, limit: 8 } }
    samples: 1
  checkpoints: { every: 4 }
  output: { samplesPerStep: 2 }
`;

test("W2, T3: a run that is killed is scored by the same reward models to the end, and by no others", async () => {
  const folder = temporaryFolder("read-scorers");
  const out = join(folder, "out");
  writeFileSync(join(folder, "run.yaml"), RUN_FILE);
  const one = await writeTinyScorer(join(folder, "one"), { hiddenSize: 16, seed: 1 });
  const two = await writeTinyScorer(join(folder, "two"), { hiddenSize: 24, seed: 2 });

  const whole = await oarlock(["run", "run.yaml", "--out", "whole"], folder);
  expect(whole.code, whole.text).toBe(0);

  const started = startOarlock(["run", "run.yaml", "--out", "out"], folder);
  await stepsDone(out, STEPS / 2, started);
  started.child.kill("SIGKILL");
  await started.ended;

  renameSync(join(folder, "two"), join(folder, "kept"));
  await writeTinyScorer(join(folder, "two"), { hiddenSize: 24, seed: 3 });
  const refused = await oarlock(["resume", "out"], folder);
  expect(refused.code, refused.text).toBe(3);
  expect(refused.text).toMatch(
    new RegExp(`RUN_INPUTS_CHANGED.*\n.*changed scorers: two digest: "${two}" is now`),
  );
  renameSync(join(folder, "two"), join(folder, "other"));
  renameSync(join(folder, "kept"), join(folder, "two"));

  const resumed = await oarlock(["resume", "out"], folder);
  expect(resumed.code, resumed.text).toBe(0);
  expect(digestsOf(out)).toHaveLength(STEPS);
  expect(digestsOf(out)).toEqual(digestsOf(join(folder, "whole")));

  const samples = parseSamples(readFileSync(join(out, "samples.jsonl"), "utf8"));
  expect(new Set(samples.map(({ kind }) => kind))).toEqual(new Set(["rollout", "evaluation"]));
  for (const { versions, rewards } of samples) {
    expect(versions).toEqual({ one: `sha256:${one}`, both: `sha256:${one}+sha256:${two}` });
    expect(rewards["both"]).toBeLessThanOrEqual(rewards["one"]!);
  }
  // The worst of two differs from the first somewhere, so that both have scored.
  expect(samples.some(({ rewards }) => rewards["both"]! < rewards["one"]!)).toBe(true);

  const evaluated = await oarlock(["eval", "out", "--json"], folder);
  expect(evaluated.code, evaluated.text).toBe(0);
  const name = "val-core/addition/one/mean@1";
  const { metrics } = JSON.parse(evaluated.text.slice(evaluated.text.indexOf("{"))) as {
    metrics: Record<string, number>;
  };
  expect(metrics[name]).toBeTypeOf("number");
  expect(metrics[name]).toBe(summaryOf(out).stages[0]?.after?.metrics[name]);
});

test.skipIf(nats.absent)(
  `D1: a reward model of the hub scores a run of several processes, and offline one of a single process${nats.note}`,
  async () => {
    const folder = temporaryFolder("hub-scorer");
    const digest = await writeTinyScorer(join(folder, "rm"), { hiddenSize: 16, seed: 1 });
    const files = readdirSync(join(folder, "rm")).map(
      (name) => [name, readFileSync(join(folder, "rm", name))] as const,
    );
    const hub = await startFakeHub({ files: new Map(files), token: "hf_mine" });
    const rewards = [
      "{name: liked, type: model, model: {from: 'hf://org/name'}}",
      // One of each source, which are the same: so is the worst of both.
      "{name: worst, type: ensemble, weight: 0, ensemble: {from: ['hf://org/name@v1', ./rm], combine: min}}",
    ];
    const set = [`stages.learn.grpo.rewards=[${rewards.join(", ")}]`, "stages.learn.grpo.steps=2"];
    const args = (out: string) => ["run", "run.yaml", "--out", out, ...set.flatMap((one) => ["--set", one])];
    writeFileSync(join(folder, "run.yaml"), RUN_FILE);
    const env = {
      ...process.env,
      PATH: [dirname(nats.path), process.env["PATH"]].join(delimiter),
      OARLOCK_CACHE: join(folder, "cache"),
      HF_ENDPOINT: hub.endpoint,
    };
    const online = await oarlock([...args("online"), "--processes"], folder, { ...env, HF_TOKEN: "hf_mine" });
    expect(online.code, online.text).toBe(0);
    // The plan's process fetches it once; the learner's, and the second reference to the same commit, have it from the cache.
    const weights = hub.requests.filter((request) => /model\.safetensors(?! bytes=0-0)/.test(request));
    expect(weights).toHaveLength(1);
    const asked = hub.requests.length;

    const offline = await oarlock(args("offline"), folder, { ...env, HF_HUB_OFFLINE: "1" });
    expect(offline.code, offline.text).toBe(0);
    expect(hub.requests).toHaveLength(asked);
    expect(digestsOf(join(folder, "online"))).toHaveLength(2);
    expect(digestsOf(join(folder, "offline"))).toEqual(digestsOf(join(folder, "online")));
    for (const out of ["online", "offline"].map((name) => join(folder, name))) {
      const { run } = JSON.parse(readFileSync(join(out, "plan.json"), "utf8")) as { run: ResolvedRun };
      expect(run.inputs.scorers?.map((scorer) => [scorer.from, scorer.digest])).toEqual([
        ["hf://org/name", digest],
        ["hf://org/name@v1", digest],
        ["./rm", digest],
      ]);
      const samples = parseSamples(readFileSync(join(out, "samples.jsonl"), "utf8"));
      expect(samples.length).toBeGreaterThan(0);
      for (const { versions, rewards: scores } of samples) {
        const version = `sha256:${digest}`;
        expect(versions).toEqual({ liked: version, worst: `${version}+${version}` });
        expect(scores["worst"]).toBe(scores["liked"]);
      }
      expect(`${online.text}${readFileSync(join(out, "plan.json"), "utf8")}`).not.toContain("hf_mine");
    }
  },
);

test.skipIf(nats.absent)(
  `W2: a reward model that changes after the plan ends the run at once, as no other try would do better${nats.note}`,
  async () => {
    const folder = temporaryFolder("changed-scorer");
    writeFileSync(join(folder, "run.yaml"), RUN_FILE);
    for (const name of ["one", "two"]) await writeTinyScorer(join(folder, name), { hiddenSize: 16, seed: 1 });
    const env = { ...process.env, PATH: [dirname(nats.path), process.env["PATH"]].join(delimiter) };
    const started = startOarlock(["run", "run.yaml", "--out", "out", "--processes"], folder, env);
    while (!existsSync(join(folder, "out/plan.json"))) {
      expect(started.child.exitCode).toBeNull();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    renameSync(join(folder, "two"), join(folder, "kept"));
    await writeTinyScorer(join(folder, "two"), { hiddenSize: 16, seed: 2 });
    const { code, text } = await started.ended;
    expect(code, text).toBe(1);
    expect(text).toMatch(/MODEL_CHANGED\] two is not what it was when the run began/);
    expect(text).not.toContain("times without a step");
  },
);
