/** What the trainer is told follows from the plan, all of it. */
import { readRunFile, resolveSpec } from "@oarlock/runfile";
import type { ResolvedStage } from "@oarlock/runfile";
import { describe, expect, test } from "vitest";
import { criticStepOptions, grpoStepOptions, ppoStepOptions } from "./step-options.ts";

function stage(type: "grpo" | "ppo", settings: string): ResolvedStage {
  const text = `
apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: options }
spec:
  model: { init: { hiddenSize: 8, intermediateSize: 8, layers: 1, heads: 2, maxPositions: 64,
    tokenizer: { type: characters, characters: { alphabet: ab } } } }
  stages:
    - name: learn
      type: ${type}
      ${type}: { data: { type: task, task: { name: addition } }, steps: 9, sampling: { maxNewTokens: 24 },
        rewards: [{ name: answer, type: exact }], ${settings} }
`;
  const read = readRunFile(text, { file: "options.yaml", set: [] });
  if (!read.ok) throw new Error(JSON.stringify(read.problems));
  const [resolved] = resolveSpec(read.file).spec.stages;
  if (resolved === undefined) throw new Error("one stage is resolved to none");
  return resolved;
}

describe("step options", () => {
  test("of GRPO carry the dual clip, and the constant that dr-grpo divides by", () => {
    const resolved = stage(
      "grpo",
      "advantage: dr-grpo, dualClip: 3, clip: { high: 0.28 }, entropyCoefficient: 0.01",
    );
    const options = resolved.type === "grpo" ? grpoStepOptions(resolved.grpo, 0) : undefined;
    expect(options).toMatchObject({
      objective: { type: "grpo", clip: { low: 0.2, high: 0.28, dual: 3 }, entropyCoefficient: 0.01 },
      aggregation: "dr-grpo",
      maxLength: 24,
    });
  });

  test("of PPO split the batch for policy and critic alike, with the step's own β where it is in the loss", () => {
    const inLoss = "promptsPerStep: 8, groupSize: 2, miniBatches: 4, maxKl: 0.1, kl: { placement: loss }";
    const resolved = stage("ppo", inLoss);
    if (resolved.type !== "ppo") throw new Error("not PPO");
    const order = [Int32Array.of(1, 0)];
    const moment = { step: 0, klCoefficient: 0.7, order };
    const shared = { miniBatchSize: 4, microBatchSize: 1, epochs: 4, order };
    expect(ppoStepOptions(resolved.ppo, moment)).toMatchObject({
      ...shared,
      objective: { klCoefficient: 0.7, klEstimator: "k3" },
      maxKl: 0.1,
    });
    expect(criticStepOptions(resolved.ppo, moment)).toMatchObject({
      ...shared,
      objective: { type: "value", clip: 0.2 },
    });
    const inReward = stage("ppo", "kl: { placement: reward }");
    if (inReward.type !== "ppo") throw new Error("not PPO");
    const options = ppoStepOptions(inReward.ppo, moment);
    expect(options.objective).toMatchObject({ klCoefficient: 0 });
    expect(options).not.toHaveProperty("maxKl");
  });
});
