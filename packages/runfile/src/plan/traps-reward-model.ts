/** Traps of reward models: nothing held out, folds that are not there, losses that the rows do not fit. */
import type { Path } from "../problem.ts";
import type { ResolvedRewardModel } from "../resolved.ts";
import { batch, optimizer, SFT_RATES, type StageCheck } from "./traps-training.ts";
import { type Trap, type TrapContext, trapWhen } from "./trap.ts";

/** Checks of a reward model's stage. */
export const rewardModel: StageCheck<ResolvedRewardModel> = (stage, path, outer) => [
  ...batch(stage.batchSize, "batchSize")(stage, path, outer),
  ...optimizer(stage.optimizer, [...path, "optimizer"], SFT_RATES, stage.steps),
  ...trapWhen(stage.maxLength > outer.shape.maxPositions, () => ({
    code: "CONTEXT_TOO_SHORT",
    path: [...path, "maxLength"],
    message: `the model holds ${outer.shape.maxPositions} positions`,
    value: String(stage.maxLength),
    accepted: `at most ${outer.shape.maxPositions}`,
  })),
  ...trapWhen(stage.minimumAccuracy > 0 && stage.heldOut === 0, () => ({
    code: "GATE_WITHOUT_DATA",
    path: [...path, "minimumAccuracy"],
    message: "nothing is held out that an accuracy could be measured on",
    value: String(stage.minimumAccuracy),
    accepted: "heldOut above 0 (0.1 is usual), or minimumAccuracy: 0",
  })),
  ...lossTraps(stage, path),
  ...trapWhen(stage.fold > 0 && stage.heldOut > 0 && (stage.fold + 1) * stage.heldOut > 1 + 1e-9, () => ({
    code: "FOLD_UNKNOWN",
    path: [...path, "fold"],
    message: `shares of ${stage.heldOut} are fewer than ${stage.fold + 1}`,
    value: String(stage.fold),
    accepted: `0 to ${Math.max(0, Math.floor(1 / stage.heldOut + 1e-9) - 1)}`,
  })),
  ...trapWhen(stage.fold > 0 && stage.heldOut === 0, () => ({
    code: "FOLD_UNKNOWN",
    path: [...path, "fold"],
    message: "nothing is held out, so there are no folds",
    value: String(stage.fold),
    accepted: "heldOut above 0, or fold: 0",
  })),
  ...rowsMissing(stage, outer, path),
];

/** What is said of pairs alone would have no effect on rankings or labelled steps. */
function lossTraps(stage: ResolvedRewardModel, path: Path): Trap[] {
  const { loss, answers } = stage;
  if (loss === "bradley-terry") {
    return trapWhen(answers !== 2, () => ({
      code: "ANSWERS_NOT_A_PAIR",
      path: [...path, "answers"],
      message: "bradley-terry compares two answers",
      value: String(answers),
      accepted: "answers: 2, or loss: plackett-luce or all-pairs",
    }));
  }
  const isSteps = loss === "binary-cross-entropy";
  const neutral = { margin: 0, centering: 0, ...(isSteps ? { answers: 1 } : {}) };
  return Object.entries(neutral).flatMap(([name, none]) => {
    const value = stage[name as keyof typeof neutral]; // a key of the table above
    return trapWhen(value !== none, () => ({
      code: isSteps ? "STEP_LABELS_WITHOUT_EFFECT" : "RANKING_WITHOUT_EFFECT",
      path: [...path, name],
      message: `${loss} has no ${name}`,
      value: String(value),
      accepted: `no ${name}, or loss: ${name === "answers" ? "plackett-luce or all-pairs" : "bradley-terry"}`,
    }));
  });
}

/** What the rows of each loss have, and how it is found. */
interface NeededRows {
  readonly has: (parts: readonly string[]) => boolean;
  readonly missing: string;
  readonly accepted: string;
}

function neededRows({ loss, answers }: ResolvedRewardModel): NeededRows {
  if (loss === "binary-cross-entropy") {
    return {
      has: (parts) => parts.includes("steps"),
      missing: "labelled steps",
      accepted:
        "columns completions (a list of steps) and labels, or data fields: {completions: <column>, labels: <column>}",
    };
  }
  if (answers !== 2) {
    return {
      has: (parts) => parts.includes("ranking"),
      missing: `ranking of ${answers} answers`,
      accepted: "a column ranking (a list, the best first), or data fields: {ranking: <column>}",
    };
  }
  return {
    has: (parts) => parts.includes("ranking") || (parts.includes("chosen") && parts.includes("rejected")),
    missing: "preferred and rejected answer",
    accepted: "columns chosen and rejected, or data fields: {chosen: <column>, rejected: <column>}",
  };
}

function rowsMissing(stage: ResolvedRewardModel, { facts }: TrapContext, path: Path): Trap[] {
  const parts = facts.data.get(path.slice(1).concat("data").join("."))?.parts;
  const { has, missing, accepted } = neededRows(stage);
  const isSteps = parts?.includes("steps") === true && stage.loss !== "binary-cross-entropy";
  return trapWhen(parts !== undefined && !has(parts), () => ({
    code: "PREFERENCES_MISSING",
    path: [...path, "data"],
    message: `the rows have no ${missing}`,
    accepted: isSteps ? `loss: binary-cross-entropy for labelled steps, or ${accepted}` : accepted,
  }));
}
