/** The plan that chaos disturbs: small, and slow enough in every part that a death hits work in hand. */
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { taskAlphabet, taskDataset } from "@oarlock/data";
import { dataUses, functionUses, readRunFile, resolvePlan, resolveSpec } from "@oarlock/runfile";
import type { ResolvedRun } from "@oarlock/runfile";
import { rewardDigest } from "@oarlock/sandbox";
import { characterTokenizer, createTokenizer } from "@oarlock/tokenizer";

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
  model:
    init:
      hiddenSize: 32
      intermediateSize: 64
      layers: 2
      heads: 2
      maxPositions: 256
      tokenizer: { type: characters, characters: { alphabet: "0123456789+=" } }
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
  const read = readRunFile(runFile(steps), { file: "chaos.yaml", set });
  if (!read.ok) throw new Error(read.problems.map(({ message }) => message).join("\n"));
  const { tokenizer, template } = tokens();
  const { spec } = resolveSpec(read.file);
  const data = dataUses(spec).map(({ path, data: block }) => {
    if (block.type !== "task") throw new Error(`${path} is no task`);
    const { name, ...settings } = block.task;
    const { digest, rows, parts } = taskDataset(name, settings);
    return [path, { digest, rows: rows.length, longestPrompt: 8, parts }] as const;
  });
  const functions = new Map<string, string>();
  for (const { path, file } of functionUses(spec)) functions.set(path, await rewardDigest(file, CHAOS_BASE));
  const plan = resolvePlan(read.file, {
    model: {
      vocabSize: tokenizer.vocabSize,
      digest: "",
      tokenizerDigest: tokenizer.digest,
      chatTemplateDigest: template,
    },
    data: new Map(data),
    functions,
    engine: { oarlock: "0.1.0", onnxruntime: "", instructionSet: "" },
    machine: { memoryBytes: 8e9 },
  });
  if (plan.problems.length > 0) throw new Error(JSON.stringify(plan.problems));
  return plan.run;
}

function tokens() {
  const tokenizer = createTokenizer(characterTokenizer({ alphabet: taskAlphabet("addition") }));
  return { tokenizer, template: "" };
}
