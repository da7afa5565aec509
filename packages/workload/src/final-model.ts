/** Trained models as folders that other tools load. */
import { join } from "node:path";
import { saveModel } from "@oarlock/models";
import { withScoreHead } from "@oarlock/nn";
import { modelParts, type OpenedModel } from "./model.ts";

/** Writes `outDir/final`, whole or not at all; gives where it lies. */
export async function saveFinal(
  model: OpenedModel,
  weights: Float32Array,
  outDir: string,
): Promise<{ readonly model: string }> {
  const folder = join(outDir, "final");
  await saveModel(folder, { ...modelParts(model), weights });
  return { model: folder };
}

/** Writes the reward model of a stage to `outDir/models/<stage>`, as a classifier with one label. */
export async function saveStageModel(
  model: OpenedModel,
  {
    stage,
    weights,
    outDir,
  }: { readonly stage: string; readonly weights: Float32Array; readonly outDir: string },
): Promise<void> {
  const config = withScoreHead(model.config);
  await saveModel(join(outDir, "models", stage), { ...modelParts(model), config, weights });
}
