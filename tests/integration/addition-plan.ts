/** The resolved plan of a tiny addition run, from a run file as a user writes it. */
import type { ResolvedRun } from "@oarlock/runfile";
import { readRun, resolveRun, taskData } from "../resolve-run.ts";
import { tinyModel } from "../tiny-model.ts";

/** As a user writes it. */
export const ADDITION_RUN_FILE: string = `
apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: addition }
spec:
  seed: 7
  model: ${tinyModel(16)}
  pipeline: { mode: lockstep, lag: 1 }
  compute: { slots: 16, generationWorkers: 1, trainingThreads: 1 }
  stages:
    - name: sft
      type: sft
      sft:
        data: { type: task, task: { name: addition, digits: 1, split: train } }
        steps: 6
        batchSize: 16
        optimizer: { learningRate: 0.003 }
    - name: grpo
      type: grpo
      grpo:
        data: { type: task, task: { name: addition, digits: 1, split: train } }
        steps: 6
        promptsPerStep: 4
        groupSize: 4
        sampling: { maxNewTokens: 4 }
        rewards:
          - { name: answer, type: exact, weight: 1, exact: {} }
          - { name: short, type: length, weight: 0.5, length: { unit: tokens, min: 1, max: 2, softness: 2 } }
        kl: { placement: loss, estimator: k3, coefficient: 0.05 }
        optimizer: { learningRate: 0.0005 }
  evaluation:
    data: { type: task, task: { name: addition, digits: 1, split: test } }
    every: 3
    samples: 2
    metric: answer
    maxNewTokens: 4
  checkpoints: { every: 2, keep: 2 }
`;

/** The plan with `--set` values, and problems of the plan as one error. */
export function additionPlan(set: readonly string[] = []): ResolvedRun {
  const file = readRun(ADDITION_RUN_FILE, "addition.yaml", set);
  return resolveRun(file, { data: taskData(file, 8), functions: new Map() });
}
