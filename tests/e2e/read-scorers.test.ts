/**
 * Reward models that a run reads and does not train, on the real command line: their digest is on every sample, a killed run goes
 * on with them to the same weights, and one that has changed is refused.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseSamples } from "@oarlock/report";
import { temporaryFolder } from "@oarlock/testkit";
import { expect, test } from "vitest";
import { tinyModel } from "../tiny-model.ts";
import { writeTinyScorer } from "../tiny-scorer.ts";
import { digestsOf, oarlock, startOarlock, stepsDone, summaryOf } from "./oarlock.ts";

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
