/** The learner's models besides the policy: where they start, how they are trained, and where finished ones are kept. */
import { join } from "node:path";
import type { Bus } from "@oarlock/bus";
import { openStageArtifacts } from "@oarlock/checkpoint";
import type { ModelPorts } from "@oarlock/learner";
import { withScoreHead } from "@oarlock/nn";
import type { ResolvedRun } from "@oarlock/runfile";
import { createTrainer } from "@oarlock/training";
import type { OpenedModel } from "../inputs/model.ts";
import { engineOf } from "./engine.ts";
import { saveStageModel } from "./final-model.ts";
import { openRewardModelStore } from "./reward-models.ts";

export interface ModelPortsOptions {
  readonly run: ResolvedRun;
  readonly uid: string;
  readonly bus: Bus;
  readonly model: OpenedModel;
  readonly incarnation: number;
  /** The run folder. */
  readonly outDir: string;
}

export function createModelPorts(options: ModelPortsOptions): ModelPorts {
  const { run, uid, bus, model, incarnation, outDir } = options;
  const artifacts = openStageArtifacts(join(outDir, "artifacts"));
  return {
    initialWeights: () => model.weights(),
    openScoreTrainer: (weights) =>
      createTrainer({
        config: withScoreHead(model.config),
        weights,
        ort: engineOf(run, run.spec.compute.trainingThreads),
      }),
    async save(artifact, weights, signal) {
      await artifacts.save(artifact, weights, signal);
      if (artifact.kind === "reward-model") await saveStageModel(model, artifact.stage, weights, outDir);
    },
    load: (artifact, signal) => artifacts.load(artifact, signal),
    async announce({ stage: name, digest }, weights, signal) {
      const stage = run.spec.stages.findIndex((one) => one.name === name);
      const store = await openRewardModelStore({ bus, uid, stage, config: model.config, incarnation });
      await store.publish({ number: 1, digest, weights, stage, step: 0 }, signal);
    },
  };
}
