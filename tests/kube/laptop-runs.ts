/** Runs of a laptop, and the files that they name: reward functions, and what those import. */
import { tinyModel } from "../tiny-model.ts";

/**
 * A reward file. While the file `hold` is there each sample takes a while, and no machine is fast enough to end the run. Its
 * value depends on the text alone (D1).
 */
export const rewardFile = (hold: string, value: string): string => `import { existsSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { defineReward } from "@oarlock/rewards";
export const reward = defineReward(async ({ completion, row }) => {
  if (existsSync(${JSON.stringify(hold)})) await delay(100);
  return ${value};
});
`;
/** In a reward: the answer of its row. */
export const WANTED = 'String(row["answer"])';
export const CLOSENESS = `/** Share of characters at their place. */
export function closeness(given: string, wanted: string): number {
  const hits = [...wanted].filter((letter, at) => given[at] === letter).length;
  return hits / Math.max(given.length, wanted.length, 1);
}
`;
/** Imitation, then GRPO against a function of this machine and a reward model of it. */
export const run = (data: string): string => `apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: mine }
spec:
  seed: 3
  model: ${tinyModel(32)}
  stages:
    - name: sft
      type: sft
      sft:
        data: { type: file, file: { path: "${data}" } }
        steps: 20
        batchSize: 16
        optimizer: { learningRate: 3e-3 }
    - name: grpo
      type: grpo
      grpo:
        data: { type: file, file: { path: "${data}" } }
        steps: 30
        promptsPerStep: 8
        groupSize: 4
        sampling: { maxNewTokens: 4 }
        rewards:
          - { name: close, type: function, function: { file: ./reward.ts } }
          - { name: liked, type: model, weight: 0.01, model: { from: ./scorer } }
        optimizer: { learningRate: 4e-4 }
  checkpoints: { every: 1000 }
`;

/** Imitation, a reward model on pairs in which the shorter answer is preferred, PPO against it. */
export const RLHF = `apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: rlhf }
spec:
  seed: 11
  model: ${tinyModel(24)}
  pipeline: { mode: lockstep, lag: 0 }
  stages:
    - name: style
      type: sft
      sft:
        data: { type: task, task: { name: addition, digits: 1, split: train } }
        steps: 10
        batchSize: 16
        optimizer: { learningRate: 3e-3 }
    - name: judge
      type: reward-model
      reward-model:
        data: { type: file, file: { path: pairs.jsonl } }
        steps: 300
        batchSize: 16
        heldOut: 0.3
        minimumAccuracy: 0.6
        optimizer: { learningRate: 3e-3 }
    - name: please
      type: ppo
      ppo:
        model: { from: stage/style }
        data: { type: task, task: { name: addition, digits: 1, split: train } }
        steps: 16
        promptsPerStep: 8
        groupSize: 2
        epochs: 2
        sampling: { maxNewTokens: 4 }
        rewards:
          - { name: preferred, type: model, model: { from: stage/judge } }
          - { name: slow, type: function, function: { file: ./slow.ts } }
        kl: { coefficient: 0.05 }
        optimizer: { learningRate: 5e-4 }
  checkpoints: { every: 1000 }
`;
