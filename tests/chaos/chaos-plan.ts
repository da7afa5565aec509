/** The plan that chaos disturbs: small, and slow enough in every part that a death hits work in hand. */
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { functionUses, resolveSpec } from "@oarlock/runfile";
import type { ResolvedRun } from "@oarlock/runfile";
import { rewardDigest } from "@oarlock/sandbox";
import { readRun, resolveRun, taskData } from "../resolve-run.ts";
import { tinyModel } from "../tiny-model.ts";

/** Folder that the plan's reward file is relative to. */
export const CHAOS_BASE = dirname(fileURLToPath(import.meta.url));
export const GROUPS_PER_STEP = 4;
/** Of the tests; a soak takes more. */
export const STEPS = 12;

const runFile = (steps: number): string => `
apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: chaos }
spec:
  seed: 11
  model: ${tinyModel(256)}
  pipeline: { mode: lockstep, lag: 1 }
  compute: { slots: 8, generationWorkers: 1, trainingThreads: 1, actors: 2 }
  stages:
    - name: grpo
      type: grpo
      grpo:
        data: { type: task, task: { name: addition, digits: 1, split: train } }
        steps: ${steps}
        promptsPerStep: ${GROUPS_PER_STEP}
        groupSize: 4
        sampling: { maxNewTokens: 200 }
        rewards:
          - { name: sevens, type: function, function: { file: slow-reward.ts } }
        kl: { placement: loss, estimator: k3, coefficient: 0.05 }
        optimizer: { learningRate: 0.0005 }
  checkpoints: { every: 2, keep: 2 }
`;

/** The resolved plan with so many steps, and with `--set` values. */
export async function chaosPlan(steps: number, set: readonly string[] = []): Promise<ResolvedRun> {
  const file = readRun(runFile(steps), "chaos.yaml", set);
  const functions = new Map<string, string>();
  for (const { path, file: code } of functionUses(resolveSpec(file).spec))
    functions.set(path, await rewardDigest(code, CHAOS_BASE));
  return resolveRun(file, { data: taskData(file, 8), functions });
}
