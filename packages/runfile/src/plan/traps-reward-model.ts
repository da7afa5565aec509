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
  ...trapWhen(preferencesMissing(stage, outer, path), () => ({
    code: "PREFERENCES_MISSING",
    path: [...path, "data"],
    message:
      stage.answers === 2
        ? "the rows have no preferred and rejected answer"
        : `the rows have no ranking of ${stage.answers} answers`,
    accepted:
      stage.answers === 2
        ? "columns chosen and rejected, or data fields: {chosen: <column>, rejected: <column>}"
        : "a column ranking (a list, the best first), or data fields: {ranking: <column>}",
  })),
];

/** What is said of pairs alone, said of rankings, would have no effect. */
function lossTraps({ loss, answers, margin, centering }: ResolvedRewardModel, path: Path): Trap[] {
  const isPairs = loss === "bradley-terry";
  return [
    ...trapWhen(isPairs && answers !== 2, () => ({
      code: "ANSWERS_NOT_A_PAIR",
      path: [...path, "answers"],
      message: "bradley-terry compares two answers",
      value: String(answers),
      accepted: "answers: 2, or loss: plackett-luce or all-pairs",
    })),
    ...(["margin", "centering"] as const).flatMap((name) =>
      trapWhen(!isPairs && { margin, centering }[name] !== 0, () => ({
        code: "RANKING_WITHOUT_EFFECT",
        path: [...path, name],
        message: `${loss} has no ${name}`,
        value: String({ margin, centering }[name]),
        accepted: `${name}: 0, or loss: bradley-terry`,
      })),
    ),
  ];
}

function preferencesMissing({ answers }: ResolvedRewardModel, { facts }: TrapContext, path: Path): boolean {
  const parts = facts.data.get(path.slice(1).concat("data").join("."))?.parts;
  if (parts === undefined || parts.includes("ranking")) return false;
  return answers !== 2 || !(parts.includes("chosen") && parts.includes("rejected"));
}
