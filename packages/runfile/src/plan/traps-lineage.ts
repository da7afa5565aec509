/** Traps in what stages take from one another: a result that is not there yet, or is of the wrong kind. */
import type { Path } from "../problem.ts";
import type { ResolvedReward, ResolvedStage } from "../resolved.ts";
import { isStageResult, modelsOf, referencedStage, referencesOf, stageResult } from "../stage-parts.ts";
import { type Trap, type TrapCheck, trapWhen } from "./trap.ts";

interface Reference {
  /** Of the field in the document. */
  readonly path: Path;
  readonly from: string;
  /** Stages whose results exist by then. */
  readonly before: readonly ResolvedStage[];
  /** Kinds of stages whose results fit. */
  readonly accepts: (stage: ResolvedStage) => boolean;
  readonly what: string;
}

const isScorer = ({ type }: ResolvedStage): boolean => type === "reward-model";

/** A name of its own of something that no stage makes: of the run's model, and of a reward model that is read. */
const isRead = ({ path, from }: Pick<Reference, "path" | "from">): boolean =>
  path.includes("rewards") ? !isStageResult(from) : from === "model";

function checkReference({ path, from, before, accepts, what }: Reference): Trap[] {
  const found = before[referencedStage(before, from) ?? -1];
  const offered = before.filter(accepts).map(stageResult);
  return trapWhen(!isRead({ path, from }) && (found === undefined || !accepts(found)), () => ({
    code: "STAGE_RESULT_UNKNOWN",
    path,
    message:
      found === undefined
        ? "no earlier stage has this name"
        : `the result of a stage of type ${found.type} is no ${what}`,
    value: from,
    accepted:
      offered.length === 0 ? `the name of an earlier stage that trains a ${what}` : offered.join(", "),
  }));
}

/** What a reference of a stage may name: a policy to go on from, a scorer, or either as a critic's start. */
function kindOf(path: Path): Pick<Reference, "accepts" | "what"> {
  if (path.includes("rewards")) return { accepts: isScorer, what: "reward model" };
  if (path.includes("critic") || path[0] === "reward-model") return { accepts: () => true, what: "model" };
  return { accepts: (stage) => !isScorer(stage), what: "policy" };
}

const evaluationReferences = (rewards: readonly ResolvedReward[]): { path: Path; from: string }[] =>
  rewards.flatMap((reward, index) =>
    modelsOf(reward).map(({ path, from }) => ({ path: ["evaluation", "rewards", index, ...path], from })),
  );

/** Every reference names an earlier stage whose result fits; an evaluation may not wait for one. */
export const lineage: TrapCheck = ({ spec }) => [
  ...spec.stages.flatMap((stage, index) =>
    referencesOf(stage).flatMap(({ path, from }) =>
      checkReference({
        path: ["spec", "stages", index, ...path],
        from,
        before: spec.stages.slice(0, index),
        ...kindOf(path),
      }),
    ),
  ),
  ...evaluationReferences(spec.evaluation?.rewards ?? []).flatMap(({ path, from }) =>
    trapWhen(isStageResult(from), () => ({
      code: "EVALUATION_BEFORE_MODEL",
      path: ["spec", ...path],
      message: "evaluations also come before the stage that trains this reward model",
      value: from,
      accepted: "evaluation.rewards of verifiers, functions and reward models from files",
    })),
  ),
];
