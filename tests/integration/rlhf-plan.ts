/** The resolved plan of a tiny run of all stages: supervised, reward model, PPO against it. From a run file as a user writes it. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { openFileData } from "@oarlock/data";
import { dataUses, resolveSpec, scorerUses } from "@oarlock/runfile";
import type { ResolvedRun } from "@oarlock/runfile";
import { openModel, openRewardModel } from "@oarlock/workload";
import { dataFacts, readRun, resolveRun, taskRows } from "../resolve-run.ts";
import { tinyModel } from "../tiny-model.ts";

const RUN_FILE = `
apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: rlhf }
spec:
  seed: 11
  model: ${tinyModel(24)}
  pipeline: { mode: lockstep, lag: 0 }
  compute: { slots: 16, generationWorkers: 1, trainingThreads: 1 }
  stages:
    - name: sft
      type: sft
      sft:
        data: { type: task, task: { name: addition, digits: 1, split: train } }
        steps: 4
        batchSize: 16
        optimizer: { learningRate: 0.003 }
    - name: rm
      type: reward-model
      reward-model:
        data: { type: file, file: { path: pairs.jsonl } }
        steps: 6
        batchSize: 16
        heldOut: 0.3
        optimizer: { learningRate: 0.003 }
    - name: ppo
      type: ppo
      ppo:
        data: { type: task, task: { name: addition, digits: 1, split: train } }
        steps: 5
        promptsPerStep: 8
        groupSize: 2
        epochs: 2
        miniBatches: 2
        sampling: { maxNewTokens: 4 }
        rewards:
          - { name: preferred, type: model, model: { from: stage/rm } }
          - { name: short, type: length, weight: 0.5, length: { unit: tokens, min: 1, max: 2, softness: 2 } }
        kl: { coefficient: 0.05, controller: adaptive, target: 0.5, horizon: 200 }
        optimizer: { learningRate: 0.0005 }
  checkpoints: { every: 2, keep: 3 }
`;

/** Preferences by a rule: of two answers to a sum, the shorter one. Writes `pairs.jsonl` into `folder`. */
export function writePairs(folder: string): void {
  const lines = Array.from({ length: 90 }, (_, i) => {
    const [a, b] = [Math.floor(i / 10), i % 10];
    const rejected = `${a + b}${(i * 7) % 10}${i % 2 === 0 ? (i * 3) % 10 : ""}`;
    return JSON.stringify({ prompt: `${a}+${b}=`, chosen: String(a + b), rejected });
  });
  writeFileSync(join(folder, "pairs.jsonl"), `${lines.join("\n")}\n`);
}

/** Rankings of three answers by the same rule. Writes `rankings.jsonl` into `folder`. */
export function writeRankings(folder: string): void {
  const lines = Array.from({ length: 90 }, (_, i) => {
    const [a, b] = [Math.floor(i / 10), i % 10];
    const ranking = [`${a + b}`, `${a + b}${(i * 7) % 10}`, `${a + b}${(i * 3) % 10}${i % 10}`];
    return JSON.stringify({ prompt: `${a}+${b}=`, ranking: i === 0 ? ranking.slice(1) : ranking });
  });
  writeFileSync(join(folder, "rankings.jsonl"), `${lines.join("\n")}\n`);
}

/**
 * Answers of three steps with labels, in TRL's stepwise supervision: a step is right as long as the last digit of every step so
 * far is 5 or more. A 1 ends a step, and is in none but the very first. Writes `steps.jsonl` into `folder`.
 */
export function writeSteps(folder: string): void {
  const digit = (i: number): number => (i * 7 + Math.floor(i / 10) * 3) % 10;
  const lines = Array.from({ length: 300 }, (_, i) => {
    const digits = [0, 1, 2]
      .map((step) => (i % 3 === 0 ? 5 + (digit(i + step) % 5) : digit(3 * i + 5 * step)))
      .map((one) => (one === 1 ? 0 : one));
    const labels = digits.map((__, step) => digits.slice(0, step + 1).every((one) => one >= 5));
    // A step that says where steps end cannot be told from two.
    const completions = i === 0 ? ["212", "3", "4"] : digits.map((one) => `${2 + (i % 8)}${one}`);
    return JSON.stringify({ prompt: `${Math.floor(i / 10)}+${i % 10}=`, completions, labels });
  });
  writeFileSync(join(folder, "steps.jsonl"), `${lines.join("\n")}\n`);
}

/** A fourth stage: GRPO that goes on from the supervised policy, against the same reward model. */
export const BRANCH = `    - name: branch
      type: grpo
      grpo:
        model: { from: stage/sft }
        data: { type: task, task: { name: addition, digits: 1, split: train } }
        steps: 2
        promptsPerStep: 4
        groupSize: 4
        sampling: { maxNewTokens: 4 }
        rewards: [{ name: preferred, type: model, model: { from: stage/rm } }]
`;

/** The plan with `--set` values and further stages over the pairs in `folder`; problems of the plan as one error. */
export async function rlhfPlan(
  folder: string,
  set: readonly string[] = [],
  stages = "",
): Promise<ResolvedRun> {
  const text = RUN_FILE.replace("  checkpoints:", `${stages}  checkpoints:`);
  const file = readRun(text, "rlhf.yaml", set);
  const data = new Map<string, ReturnType<typeof dataFacts>>();
  for (const { path, data: block } of dataUses(resolveSpec(file).spec)) {
    const found =
      block.type === "file" ? await openFileData(block.file, { baseDir: folder }) : taskRows(block);
    data.set(path, dataFacts(found, 10));
  }
  const { spec } = resolveSpec(file);
  const policy = await openModel(spec.model, { baseDir: folder, seed: spec.seed });
  const read = scorerUses(spec).map(async ({ from }) => {
    const { shape, digest } = await openRewardModel(from, { baseDir: folder, policy });
    return [from, { shape, digest }] as const;
  });
  const scorers = new Map(await Promise.all(read));
  return resolveRun(file, { data, functions: new Map(), scorers });
}
