/** The reward models of a run, for scoring outside it: what its folder keeps, and what it reads; verified by their digests. */
import { join } from "node:path";
import { openStageArtifacts, type StageArtifact } from "@oarlock/checkpoint";
import { OarlockError, shellWord } from "@oarlock/errors";
import { replacedAt } from "@oarlock/learner";
import { parameterLayout, withScoreHead } from "@oarlock/nn";
import { isStageResult, referencedStage, type ResolvedRun } from "@oarlock/runfile";
import { type OpenedModel, openRewardModel, type RewardModels } from "@oarlock/workload";
import { readArtifacts } from "../earlier-run.ts";
import { readReplacements } from "../run-folder.ts";
import type { EvaluationPlace } from "./evaluate.ts";

export interface KeptModelsOptions {
  /** What was named: a run folder, or a run file, which has trained nothing. */
  readonly named: string;
  readonly folder: string | undefined;
  /** Folder that relative paths of the plan are relative to. */
  readonly baseDir: string;
  /** The evaluation whose models are wanted: one that was replaced before is the one that took over. */
  readonly place: EvaluationPlace;
  /** That is evaluated. */
  readonly policy: Pick<OpenedModel, "config" | "tokenizer">;
}

/** Throws `EVAL_REWARD_MODEL_MISSING`, `EVAL_MODEL_DIFFERS`, `MODEL_CHANGED`, and what is wrong with a model that is read. */
export function keptRewardModels(run: ResolvedRun, options: KeptModelsOptions): RewardModels {
  return async (from) => {
    const { digest, weights } = isStageResult(from)
      ? await trainedModel(run, from, options)
      : await readModel(run, from, options);
    const version = { number: 0, digest };
    const announcement = { current: version, held: [version], incarnation: 0 };
    return {
      current: async () => announcement,
      async *watch() {
        yield announcement;
      },
      fetch: (_, signal) => weights(signal),
    };
  };
}

interface FoundModel {
  readonly digest: string;
  readonly weights: (signal?: AbortSignal) => Promise<Float32Array>;
}

/** A model that the run does not train: as it was planned with, or what took its place. */
async function readModel(run: ResolvedRun, from: string, options: KeptModelsOptions): Promise<FoundModel> {
  const { folder, place, baseDir, policy } = options;
  const later = folder === undefined ? undefined : await replacedModel(folder, from, place);
  if (folder !== undefined && later !== undefined) return artifactIn(folder, later);
  const { digest, weights } = await openRewardModel(from, { baseDir, policy });
  const planned = run.inputs.scorers?.find((one) => one.from === from)?.digest;
  if (planned === digest) return { digest, weights: async () => weights };
  const message = `the reward model ${from} is not what the run was planned with (${planned} is now ${digest}); bring it back`;
  throw new OarlockError("MODEL_CHANGED", message);
}

async function trainedModel(
  run: ResolvedRun,
  from: string,
  { named, folder, place, policy }: KeptModelsOptions,
): Promise<FoundModel> {
  const stage = run.spec.stages[referencedStage(run.spec.stages, from) ?? -1]?.name;
  const kept =
    folder === undefined || stage === undefined ? undefined : await keptModel(folder, from, { stage, place });
  if (folder === undefined || kept === undefined) {
    throw new OarlockError(
      "EVAL_REWARD_MODEL_MISSING",
      `the evaluation's reward is the model that stage ${stage} trains, and ${named} has none yet; ` +
        (folder === undefined
          ? "accepted: the folder of a run of it, or --set evaluation.rewards=[…] without it"
          : `accepted: a run whose stage ${stage} is done (\`oarlock resume ${shellWord(named)}\`)`),
    );
  }
  if (kept.elements !== parameterLayout(withScoreHead(policy.config)).length) {
    throw new OarlockError(
      "EVAL_MODEL_DIFFERS",
      `the reward model of stage ${stage} has another shape than the model to evaluate: it reads the tokens of ` +
        "the run's own policy; accepted: a model of the run's shape and tokenizer",
    );
  }
  return artifactIn(folder, kept);
}

function artifactIn(folder: string, artifact: StageArtifact): FoundModel {
  const artifacts = openStageArtifacts(join(folder, "artifacts"));
  return { digest: artifact.digest, weights: (signal) => artifacts.load(artifact, signal) };
}

async function keptModel(
  folder: string,
  target: string,
  { stage, place }: { readonly stage: string; readonly place: EvaluationPlace },
): Promise<StageArtifact | undefined> {
  const later = await replacedModel(folder, target, place);
  return later ?? (await readArtifacts(folder)).find((artifact) => artifact.stage === stage);
}

async function replacedModel(
  folder: string,
  target: string,
  place: EvaluationPlace,
): Promise<StageArtifact | undefined> {
  return replacedAt(await readReplacements(folder), target, place)?.model;
}
