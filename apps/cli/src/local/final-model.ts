/** Trained models as folders that other tools load. */
import { join } from "node:path";
import { saveModel } from "@oarlock/models";
import { type ModelWeights, withScoreHead } from "@oarlock/nn";
import type { OpenedModel } from "../inputs/model.ts";

/** Writes `outDir/final`, whole or not at all; gives where it lies. */
export async function saveFinal(
  model: OpenedModel,
  weights: Float32Array,
  outDir: string,
): Promise<{ readonly model: string }> {
  const folder = join(outDir, "final");
  await saveAs(folder, model, { config: model.config, weights });
  return { model: folder };
}

/** Writes the reward model of a stage to `outDir/models/<stage>`, as a classifier with one label. */
export async function saveStageModel(
  model: OpenedModel,
  stage: string,
  weights: Float32Array,
  outDir: string,
): Promise<void> {
  await saveAs(join(outDir, "models", stage), model, { config: withScoreHead(model.config), weights });
}

async function saveAs(folder: string, model: OpenedModel, network: ModelWeights): Promise<void> {
  const { tokenizer, tokenizerFiles, stopTokens } = model;
  const { bosTokenId, padTokenId } = tokenizer;
  await saveModel(folder, {
    ...network,
    tokenizer: tokenizerFiles,
    specials: {
      eosTokenIds: [...stopTokens],
      ...(bosTokenId === undefined ? {} : { bosTokenId }),
      ...(padTokenId === undefined ? {} : { padTokenId }),
    },
  });
}
