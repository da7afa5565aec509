/** The learner's models besides the policy: where they start, how they are trained, and where finished ones are kept. */
import { join } from "node:path";
import type { Bus } from "@oarlock/bus";
import { openStageArtifacts } from "@oarlock/checkpoint";
import type { LlamaConfig } from "@oarlock/nn";
import type { ResolvedRun } from "@oarlock/runfile";
import { openRewardModelStore } from "@oarlock/scoring";
import { createTrainer } from "@oarlock/training";
import type { TrainerOptions } from "@oarlock/training";
import type { ModelPorts } from "./ports.ts";

export interface ModelPortsOptions {
  readonly run: ResolvedRun;
  readonly uid: string;
  readonly bus: Bus;
  readonly incarnation: number;
  /** The run folder: artifacts lie in `artifacts`. */
  readonly outDir: string;
  /** The run's own model. */
  readonly model: { readonly config: LlamaConfig; weights(): Promise<Float32Array> };
  /** How the trainers' engine is opened (D1: from the plan). */
  readonly engine: Pick<TrainerOptions, "lanes" | "ort">;
  /** Writes a finished reward model for other tools. */
  readonly saveModel: (stage: string, weights: Float32Array) => Promise<void>;
}

export function createModelPorts(options: ModelPortsOptions): ModelPorts {
  const { run, uid, bus, model, incarnation, engine } = options;
  const artifacts = openStageArtifacts(join(options.outDir, "artifacts"));
  return {
    initialWeights: () => model.weights(),
    openScoreTrainer: (weights, head) =>
      createTrainer({ config: { ...model.config, head }, weights, ...engine }),
    async save(artifact, weights, signal) {
      await artifacts.save(artifact, weights, signal);
      if (artifact.kind === "reward-model") await options.saveModel(artifact.stage, weights);
    },
    load: (artifact, signal) => artifacts.load(artifact, signal),
    async announce({ stage: name, digest }, weights, signal) {
      const stage = run.spec.stages.findIndex((one) => one.name === name);
      const store = await openRewardModelStore({ bus, uid, stage, config: model.config, incarnation });
      await store.publish({ number: 1, digest, weights, stage, step: 0 }, signal);
    },
  };
}
