/** The learner's models besides the policy: where they start, how they are trained, and where finished ones are kept. */
import { join } from "node:path";
import type { Bus } from "@oarlock/bus";
import { openStageArtifacts } from "@oarlock/checkpoint";
import type { LlamaConfig } from "@oarlock/nn";
import { scorerNumber, scorerShape } from "@oarlock/runfile";
import type { ResolvedRun } from "@oarlock/runfile";
import { openRewardModelStore } from "@oarlock/scoring";
import { createTrainer } from "@oarlock/training";
import type { TrainerOptions } from "@oarlock/training";
import type { AnnouncedModel, ModelPorts } from "./ports.ts";

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
  readonly readModel: ModelPorts["read"];
  /** Writes a finished reward model for other tools. */
  readonly saveModel: (stage: string, weights: Float32Array) => Promise<void>;
}

export function createModelPorts(options: ModelPortsOptions): ModelPorts {
  const { run, uid, bus, model, incarnation, engine } = options;
  const artifacts = openStageArtifacts(join(options.outDir, "artifacts"));
  /** What this incarnation has made available, by reference, in the order of its numbers. */
  const announced = new Map<string, readonly string[]>();
  return {
    initialWeights: () => model.weights(),
    openScoreTrainer: (weights, head) =>
      createTrainer({ config: { ...model.config, head }, weights, ...engine }),
    async save(artifact, weights, signal) {
      await artifacts.save(artifact, weights, signal);
      if (artifact.kind === "reward-model") await options.saveModel(artifact.stage, weights);
    },
    load: (artifact, signal) => artifacts.load(artifact, signal),
    read: (source, signal) => options.readModel(source, signal),
    keep: (artifact, weights, signal) => artifacts.save(artifact, weights, signal),
    async announce(from, versions, signal) {
      const [known, wanted] = [announced.get(from), versions.map(nameOf)];
      if (known !== undefined && known.join() === wanted.join()) return;
      const place = scorerNumber(run.spec, from);
      const config = scorerShape(run.inputs, from);
      const store = await openRewardModelStore({ bus, uid, number: place, config, incarnation });
      // Where an earlier one came from may hold another model by now.
      const fresh = versions.filter((version) => known?.includes(nameOf(version)) !== true);
      for (const version of fresh) {
        const weights = await version.weights();
        await store.publish({ ...version, weights, stage: place, step: 0 }, signal);
        // At once: what is held of an earlier incarnation takes the room of the next one.
        await store.retain(versions, signal);
      }
      if (fresh.length === 0) await store.retain(versions, signal);
      announced.set(from, wanted);
    },
  };
}

const nameOf = ({ number, digest }: Pick<AnnouncedModel, "number" | "digest">): string =>
  `${number} ${digest}`;
