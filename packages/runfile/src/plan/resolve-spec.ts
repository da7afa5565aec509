/** Fills every default of a checked run file: run file → resolved spec with the origin of each value. Pure. */
import type { ReadRunFile } from "../read-run-file.ts";
import type { ResolvedSpec, ResolvedStage } from "../resolved.ts";
import { fillCheckpoints, fillCompute, fillModel, fillOutput, fillPipeline } from "./fill-model.ts";
import { fillEvaluation, fillStage } from "./fill-stages.ts";
import type { StageContext } from "./stage-defaults.ts";
import { createScope, type Origin, type Origins } from "./origins.ts";

/** What defaults may follow from besides the run file. */
export type Measured = Pick<StageContext, "shape" | "longest">;

/**
 * Every default filled. Before model and data were read, defaults that follow from them are those of a small model:
 * enough to know which data and files the run reads.
 */
export function resolveSpec(
  file: ReadRunFile,
  measured: Measured = {},
): { spec: ResolvedSpec; origins: Origins } {
  const origins = new Map<string, Origin>();
  const { spec } = file.run;
  const at = createScope(origins, (path) => file.source(path), ["spec"]);
  const context = { ...measured, fresh: spec.model.init !== undefined };
  const stages: ResolvedStage[] = [];
  for (const [index, stage] of spec.stages.entries()) {
    stages.push(fillStage(stage, at.inside("stages", index), { ...context, index, before: stages }));
  }
  const evaluation =
    spec.evaluation === undefined
      ? {}
      : { evaluation: fillEvaluation(spec.evaluation, at.inside("evaluation"), { ...context, stages }) };
  return {
    spec: {
      seed: at.fill("seed", spec.seed, 42),
      model: fillModel(spec.model, at.inside("model")),
      pipeline: fillPipeline(spec.pipeline, at.inside("pipeline")),
      compute: fillCompute(spec.compute, at.inside("compute")),
      stages,
      ...evaluation,
      checkpoints: fillCheckpoints(spec.checkpoints, at.inside("checkpoints")),
      output: fillOutput(spec.output, at.inside("output")),
      allow: at.fill("allow", spec.allow, []),
    },
    origins,
  };
}
