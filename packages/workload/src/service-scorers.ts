/**
 * Scorers of other processes, opened from the plan. Tokens come from the environment that the plan names a variable of; they
 * are in no plan, no log line and no version.
 */
import { OarlockError } from "@oarlock/errors";
import { digestOf } from "@oarlock/runfile";
import type { ResolvedReward } from "@oarlock/runfile";
import type { Environment } from "@oarlock/runtime";
import { createExternalScorer, createGrpcLine, createHttpLine, createJudgeLine } from "@oarlock/scoring";
import type { BatchScorer, ScorerLine } from "@oarlock/scoring";

export type ServiceReward = Extract<ResolvedReward, { type: "http" | "grpc" | "judge" }>;

/** Nothing is sent before the first sample. Throws `SCORER_TOKEN_MISSING` where the token's variable is empty. */
export function openServiceScorer(reward: ServiceReward, environment: Environment): BatchScorer {
  const { name, optional, timeoutMs, service } = reward;
  const { tokenEnv, version: pinnedVersion, ...calls } = service;
  const token = tokenEnv === "" ? "" : (environment[tokenEnv] ?? "");
  if (tokenEnv !== "" && token === "") {
    throw new OarlockError(
      "SCORER_TOKEN_MISSING",
      `reward ${name}: the environment variable ${tokenEnv} is empty; accepted: the scorer's bearer token in it`,
    );
  }
  const { type } = reward;
  const settings = type === "http" ? reward.http : type === "grpc" ? reward.grpc : reward.judge;
  return createExternalScorer({
    ...calls,
    name,
    version: pinnedVersion === "" ? `${type}@${digestOf(settings).slice(0, 12)}` : pinnedVersion,
    optional,
    pinnedVersion,
    timeoutMs,
    line: openLine(reward, token),
  });
}

function openLine(reward: ServiceReward, token: string): ScorerLine {
  const { name, timeoutMs, service } = reward;
  if (reward.type === "http") return createHttpLine({ scorer: name, token, ...reward.http });
  if (reward.type === "judge") return createJudgeLine(reward.judge, token);
  return createGrpcLine({ ...reward.grpc, token, timeoutMs, version: service.version });
}
