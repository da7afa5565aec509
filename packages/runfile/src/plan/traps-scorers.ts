/** Traps in scorers, of stages and of the evaluation alike. */
import { plainMessage } from "@oarlock/errors";
import type { Path } from "../problem.ts";
import type { ResolvedReward, ResolvedStage } from "../resolved.ts";
import { modelsOf, referencedStage, rolloutsOf, scorerShape, scorersRead } from "../stage-parts.ts";
import { type Trap, type TrapCheck, type TrapContext, trapWhen } from "./trap.ts";

/** Certificates for a connection that is plain text would protect nothing. */
function plainText(reward: ResolvedReward, path: Path): Trap[] {
  if (!("service" in reward) || reward.service.tls === undefined) return [];
  const { isSecure, field, value, accepted } = connectionOf(reward);
  return trapWhen(!isSecure, () => ({
    code: "SCORER_TLS_UNUSED",
    path: [...path, reward.type, field],
    message: `reward '${reward.name}' has service.tls, and its connection is plain text`,
    value,
    accepted: `${accepted}, or no service.tls`,
  }));
}

/** The field that decides whether a connection is secure, and what it must be. */
function connectionOf(reward: Extract<ResolvedReward, { service: unknown }>): {
  readonly isSecure: boolean;
  readonly field: string;
  readonly value: string;
  readonly accepted: string;
} {
  if (reward.type === "grpc") {
    const { tls } = reward.grpc;
    return { isSecure: tls, field: "tls", value: String(tls), accepted: "tls: true" };
  }
  const { url } = reward.type === "http" ? reward.http : reward.judge;
  const isSecure = url.startsWith("https:");
  return { isSecure, field: "url", value: JSON.stringify(url), accepted: "an https:// URL" };
}

/** Whether it gives scores of tokens or steps. */
function scoresPlaces(reward: ResolvedReward): boolean {
  if (reward.type === "model") return reward.model.scope === "step";
  return "service" in reward && reward.service.scope === "token";
}

/** A score of each token has no one value that could be scaled or cut, and a judge gives one number. */
function tokenScope(reward: ResolvedReward, path: Path): Trap[] {
  if (!scoresPlaces(reward)) return [];
  const shaped = reward.normalize === undefined ? reward.clip && "clip" : "normalize";
  return [
    ...trapWhen(reward.type === "judge", () => ({
      code: "SCORE_SCOPE_UNKNOWN",
      path: [...path, "service", "scope"],
      message: "a judge gives one number for a completion",
      value: "token",
      accepted: "trajectory, or a scorer of type http or grpc",
    })),
    ...trapWhen(shaped !== undefined, () => ({
      code: "SCORE_SCOPE_SHAPED",
      path: [...path, shaped ?? ""],
      message: `reward '${reward.name}' scores ${reward.type === "model" ? "steps" : "tokens"}: ${shaped} would change their sum, and not them`,
      accepted: `no ${shaped}, or scope: trajectory`,
    })),
  ];
}

/** A model that was trained at the ends of steps is read where it was trained. */
function otherSteps(stages: readonly ResolvedStage[], reward: ResolvedReward, path: Path): Trap[] {
  if (reward.type !== "model" || reward.model.stepEnd === undefined) return [];
  const stage = stages[referencedStage(stages, reward.model.from) ?? -1];
  const trained = stage?.type === "reward-model" ? stage["reward-model"].stepEnd : undefined;
  return trapWhen(trained !== undefined && trained !== reward.model.stepEnd, () => ({
    code: "STEP_ENDS_DIFFER",
    path: [...path, "model", "stepEnd"],
    message: `${reward.model.from} was trained where steps end with ${JSON.stringify(trained)}`,
    value: JSON.stringify(reward.model.stepEnd),
    accepted: `stepEnd: ${JSON.stringify(trained)}`,
  }));
}

/** A reward model that is read may hold fewer positions than the policy. */
function scorerRoom({ spec, inputs }: TrapContext, reward: ResolvedReward, { path, longest }: Place): Trap[] {
  return modelsOf(reward).flatMap(({ path: below, from }) => {
    const { maxPositions } = scorerShape(inputs, from);
    return trapWhen(scorersRead(spec).includes(from) && longest > maxPositions, () => ({
      code: "CONTEXT_TOO_SHORT",
      path: [...path, ...below],
      message: `it holds ${maxPositions} positions, and a prompt with its completion may have ${longest} tokens`,
      value: from,
      accepted: `a reward model of ${longest} positions, or shorter maxPromptLength and maxNewTokens`,
    }));
  });
}

/** A pattern that is no regular expression, or flags that exclude one another. */
function pattern(reward: ResolvedReward, path: Path): Trap[] {
  if (reward.type !== "regex") return [];
  const { pattern: source, flags } = reward.regex;
  try {
    void new RegExp(source, flags);
    return [];
  } catch (reason) {
    return trapWhen(true, () => ({
      code: "PATTERN_INVALID",
      path: [...path, "regex", "pattern"],
      message: `reward '${reward.name}': ${plainMessage(reason)}`,
      value: `/${source}/${flags}`,
      accepted: "a JavaScript regular expression",
    }));
  }
}

function emptyRange(reward: ResolvedReward, path: Path): Trap[] {
  if (reward.type !== "length") return [];
  const { min, max } = reward.length;
  return trapWhen(min > max, () => ({
    code: "LENGTH_RANGE_EMPTY",
    path: [...path, "length", "min"],
    message: `reward '${reward.name}': no length is from ${min} to ${max}`,
    value: String(min),
    accepted: `0 to ${max}`,
  }));
}

interface Place {
  readonly path: Path;
  /** Tokens of a prompt with its completion at most. */
  readonly longest: number;
}

function checkAll(
  context: TrapContext,
  rewards: readonly ResolvedReward[],
  { path, longest }: Place,
): Trap[] {
  return rewards.flatMap((reward, index) => {
    const at = [...path, "rewards", index];
    return [
      ...pattern(reward, at),
      ...emptyRange(reward, at),
      ...plainText(reward, at),
      ...tokenScope(reward, at),
      ...otherSteps(context.spec.stages, reward, at),
      ...scorerRoom(context, reward, { path: at, longest }),
    ];
  });
}

/** Checks of every list of rewards. */
export const scorerTraps: TrapCheck = (context) => {
  const { stages, evaluation } = context.spec;
  const ofStages = stages.flatMap((stage, index) => {
    const rollouts = rolloutsOf(stage);
    if (rollouts === undefined) return [];
    const longest = rollouts.maxPromptLength + rollouts.sampling.maxNewTokens;
    return checkAll(context, rollouts.rewards, { path: ["spec", "stages", index, stage.type], longest });
  });
  if (evaluation === undefined) return ofStages;
  const longest = evaluation.maxPromptLength + evaluation.maxNewTokens;
  return [...ofStages, ...checkAll(context, evaluation.rewards, { path: ["spec", "evaluation"], longest })];
};
