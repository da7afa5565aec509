/**
 * Scorers of other processes, opened from the plan. Tokens and certificates come from where the plan says; they are in no plan,
 * no log line and no version.
 */
import { digestOf } from "@oarlock/runfile";
import type { ResolvedReward } from "@oarlock/runfile";
import {
  checkTrust,
  createExternalScorer,
  createGrpcLine,
  createHttpLine,
  createJudgeLine,
} from "@oarlock/scoring";
import type { BatchScorer, LineCredentials, ScorerLine } from "@oarlock/scoring";
import { readCredentials } from "./scorer-credentials.ts";
import type { CredentialsOptions } from "./scorer-credentials.ts";

export type ServiceReward = Extract<ResolvedReward, { type: "http" | "grpc" | "judge" }>;

/**
 * No sample is sent before the first one is asked for. Throws `SCORER_TOKEN_MISSING`, `SCORER_FILE_INVALID`,
 * `SCORER_TLS_INVALID` and, where the server is there already, `SCORER_TLS_UNTRUSTED`.
 */
export async function openServiceScorer(
  reward: ServiceReward,
  options: Omit<CredentialsOptions, "name">,
): Promise<BatchScorer> {
  const { name, optional, timeoutMs, service } = reward;
  const { version: pinnedVersion, ...calls } = service;
  const { tls, token } = readCredentials(service, { ...options, name });
  const { type } = reward;
  const settings = type === "http" ? reward.http : type === "grpc" ? reward.grpc : reward.judge;
  const address = "url" in settings ? settings.url : settings.address;
  const isSecure = "url" in settings ? address.startsWith("https:") : settings.tls;
  if (isSecure) await checkTrust({ address, tls: tls ?? {}, name });
  return createExternalScorer({
    ...calls,
    name,
    version: pinnedVersion === "" ? `${type}@${digestOf(settings).slice(0, 12)}` : pinnedVersion,
    optional,
    pinnedVersion,
    timeoutMs,
    line: openLine(reward, { token, ...(isSecure ? { tls: tls ?? {} } : {}) }),
  });
}

function openLine(reward: ServiceReward, credentials: LineCredentials): ScorerLine {
  const { name, timeoutMs, service } = reward;
  const { scope } = service;
  if (reward.type === "http") return createHttpLine({ scorer: name, scope, ...reward.http, ...credentials });
  if (reward.type === "judge")
    return createJudgeLine(reward.judge, { ...credentials, version: service.version });
  const { address, scorer } = reward.grpc;
  const { tls, token } = credentials;
  return createGrpcLine({ address, scorer, scope, tls, token, timeoutMs });
}
