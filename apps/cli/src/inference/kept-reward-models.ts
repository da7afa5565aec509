/** The reward models that a run folder keeps, for scoring outside the run: verified by their digest when they are read. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { openStageArtifacts, type StageArtifact } from "@oarlock/checkpoint";
import { OarlockError } from "@oarlock/errors";
import { replacedAt, REPLACEMENTS_FILE, type Replacement } from "@oarlock/learner";
import { type LlamaConfig, parameterLayout, withScoreHead } from "@oarlock/nn";
import { type ResolvedRun, stageResult } from "@oarlock/runfile";
import type { RewardModels } from "@oarlock/workload";
import { readArtifacts } from "../earlier-run.ts";
import type { EvaluationPlace } from "./evaluate.ts";

export interface KeptModelsOptions {
  /** What was named: a run folder, or a run file, which has trained nothing. */
  readonly named: string;
  readonly folder: string | undefined;
  /** The evaluation whose models are wanted: one that was replaced before is the one that took over. */
  readonly place: EvaluationPlace;
  /** Of the policy that is evaluated. */
  readonly config: LlamaConfig;
}

/** Throws `EVAL_REWARD_MODEL_MISSING`, `EVAL_MODEL_DIFFERS`. */
export function keptRewardModels(run: ResolvedRun, options: KeptModelsOptions): RewardModels {
  const { named, folder, place, config } = options;
  return async (index) => {
    const stage = run.spec.stages[index];
    if (stage === undefined)
      throw new OarlockError("EVAL_REWARD_MODEL_MISSING", `${named}: no stage ${index}`);
    const kept =
      folder === undefined ? undefined : await keptModel(folder, stageResult(stage), stage.name, place);
    if (folder === undefined || kept === undefined) {
      throw new OarlockError(
        "EVAL_REWARD_MODEL_MISSING",
        `the evaluation's reward is the model that stage ${stage.name} trains, and ${named} has none yet; ` +
          (folder === undefined
            ? "accepted: the folder of a run of it, or --set evaluation.rewards=[…] without it"
            : `accepted: a run whose stage ${stage.name} is done (\`oarlock resume ${named}\`)`),
      );
    }
    if (kept.elements !== parameterLayout(withScoreHead(config)).length) {
      throw new OarlockError(
        "EVAL_MODEL_DIFFERS",
        `the reward model of stage ${stage.name} has another shape than the model to evaluate: it reads the tokens of ` +
          "the run's own policy; accepted: a model of the run's shape and tokenizer",
      );
    }
    const version = { number: 0, digest: kept.digest };
    const announcement = { current: version, held: [version], incarnation: 0 };
    return {
      current: async () => announcement,
      async *watch() {
        yield announcement;
      },
      fetch: (_, signal) => openStageArtifacts(join(folder, "artifacts")).load(kept, signal),
    };
  };
}

async function keptModel(
  folder: string,
  target: string,
  stage: string,
  place: EvaluationPlace,
): Promise<StageArtifact | undefined> {
  const text = await readFile(join(folder, REPLACEMENTS_FILE), "utf8").catch(() => undefined);
  // Written whole by the learner, and only by it.
  const file = (text === undefined ? {} : JSON.parse(text)) as {
    readonly replacements?: readonly Replacement[];
  };
  const later = replacedAt(file.replacements ?? [], target, place)?.model;
  return later ?? (await readArtifacts(folder)).find((artifact) => artifact.stage === stage);
}
