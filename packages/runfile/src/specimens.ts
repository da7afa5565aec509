/** Small valid run files that tests and generated documents start from. */
import type { ModelShape } from "./resolved.ts";

/** Of a reward model that reads the tokens of these runs, and has another shape than their policies. */
export const OTHER_SHAPE: ModelShape = {
  vocabSize: 15,
  hiddenSize: 16,
  intermediateSize: 32,
  layers: 1,
  heads: 2,
  kvHeads: 2,
  headSize: 8,
  ropeTheta: 10_000,
  ropeConvention: "half-split",
  rmsNormEps: 1e-5,
  maxPositions: 24,
  tiedEmbeddings: true,
  qkvBias: false,
  qkNorm: false,
};

/** The smallest two-stage run: SFT, then GRPO on two-digit addition. */
export function minimalRun(): string {
  return `apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: addition }
spec:
  seed: 7
  model:
    init: { hiddenSize: 64, intermediateSize: 192, layers: 4, heads: 4, maxPositions: 32,
            tokenizer: { type: characters, characters: { alphabet: "0123456789+=" } } }
  stages:
    - name: warm
      type: sft
      sft: { data: { type: task, task: { name: addition } }, steps: 20 }
    - name: learn
      type: grpo
      grpo:
        data: { type: task, task: { name: addition } }
        steps: 20
        sampling: { maxNewTokens: 8 }
        rewards: [{ name: answer, type: exact }]
`;
}

/** The classic three stages: a supervised policy, a reward model from preferences, PPO against it. */
export function threeStageRun(): string {
  return `apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: rlhf }
spec:
  seed: 7
  model:
    init: { hiddenSize: 64, intermediateSize: 192, layers: 4, heads: 4, maxPositions: 32,
            tokenizer: { type: characters, characters: { alphabet: "0123456789+=" } } }
  stages:
    - name: warm
      type: sft
      sft: { data: { type: task, task: { name: addition } }, steps: 20 }
    - name: judge
      type: reward-model
      reward-model: { data: { type: file, file: { path: pairs.jsonl } }, steps: 20 }
    - name: learn
      type: ppo
      ppo:
        data: { type: task, task: { name: addition } }
        steps: 20
        sampling: { maxNewTokens: 8 }
        rewards: [{ name: preferred, type: model, model: { from: stage/judge } }]
`;
}
