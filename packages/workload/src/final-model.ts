/** The trained policy as a model folder that other tools load. */
import { join } from "node:path";
import { saveModel } from "@oarlock/models";
import type { OpenedModel } from "./model.ts";

/** Writes `outDir/final`, whole or not at all; gives where it lies. */
export async function saveFinal(
  model: OpenedModel,
  weights: Float32Array,
  outDir: string,
): Promise<{ readonly model: string }> {
  const folder = join(outDir, "final");
  const { config, tokenizer, tokenizerFiles, stopTokens } = model;
  const { bosTokenId, padTokenId } = tokenizer;
  await saveModel(folder, {
    config,
    weights,
    tokenizer: tokenizerFiles,
    specials: {
      eosTokenIds: [...stopTokens],
      ...(bosTokenId === undefined ? {} : { bosTokenId }),
      ...(padTokenId === undefined ? {} : { padTokenId }),
    },
  });
  return { model: folder };
}
