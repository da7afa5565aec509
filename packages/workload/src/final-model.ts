/** Trained models as folders that other tools load, and reward models read back from such. */
import { join } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { saveModel } from "@oarlock/models";
import { withScoreHead } from "@oarlock/nn";
import { canonicalJson, sourcePath } from "@oarlock/runfile";
import { modelParts, type OpenedModel } from "./model.ts";
import { readModel } from "./read-model.ts";

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

/**
 * A reward model that was trained elsewhere or by another run, for this one. Read in a thread of its own: the run goes on (P1).
 *
 * @throws OarlockError `REWARD_MODEL_INVALID` where it is a policy, or of another shape than the run's.
 */
export async function readRewardModel(
  model: Pick<OpenedModel, "config">,
  of: { readonly source: string; readonly baseDir: string; readonly signal: AbortSignal },
): Promise<{ readonly weights: Float32Array; readonly digest: string }> {
  const { source, baseDir, signal } = of;
  const { config, weights, digest } = await readModel({ source: sourcePath(source), baseDir, signal });
  const given = new Map<string, unknown>(Object.entries(config));
  const differs = Object.entries(withScoreHead(model.config)).filter(
    ([name, value]) => canonicalJson(given.get(name) ?? null) !== canonicalJson(value ?? null),
  );
  if (differs.length === 0) return { weights, digest };
  const said = differs.map(
    ([name, value]) => `${name} is ${String(given.get(name))} and not ${String(value)}`,
  );
  throw new OarlockError(
    "REWARD_MODEL_INVALID",
    `${source}: ${said.join(", ")}; accepted: a model with one label (LlamaForSequenceClassification) of the run's own architecture`,
  );
}
