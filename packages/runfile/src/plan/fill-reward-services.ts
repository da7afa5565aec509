/** Fills the defaults of rewards that other processes or several models give. */
import type { ResolvedService, ScoreShaping, ServiceSpec } from "../reward-services.ts";
import type { RewardSpec } from "../run-file.ts";
import type { ResolvedReward } from "../resolved.ts";
import type { RewardType } from "../vocabulary.ts";
import type { Scope } from "./origins.ts";

const JUDGE_PROMPT = `Grade the answer by the rubric.

Rubric:
{rubric}

Prompt:
{prompt}

Answer:
{completion}

Reply with one number from {min} to {max} and nothing else.`;

/** What a resolved reward has beside the head that all kinds share. */
type Block<T extends RewardType> = Omit<
  Extract<ResolvedReward, { type: T }>,
  "name" | "weight" | "optional" | "heldOut" | "timeoutMs" | keyof ScoreShaping
>;

/** Gets the scope of the reward, not of a block. */
type Fill<T extends RewardType> = (reward: RewardSpec, at: Scope) => Block<T>;

/** Only what the user asked for: a plan without it is the plan that it was. */
function fillOptional(
  service: ServiceSpec,
  inside: Scope,
): Pick<ResolvedService, "tokenFile" | "tls" | "scope"> {
  const { tokenFile, tls, scope } = service;
  return {
    ...(tokenFile === undefined ? {} : { tokenFile: inside.given("tokenFile", tokenFile) }),
    ...(tls === undefined ? {} : { tls: inside.given("tls", tls) }),
    ...(scope === "token" ? { scope: inside.given("scope", scope) } : {}),
  };
}

function fillService({ service }: RewardSpec, at: Scope, batchSize: number): ResolvedService {
  const inside = at.inside("service");
  return {
    tokenEnv: inside.fill("tokenEnv", service?.tokenEnv, ""),
    ...fillOptional(service ?? {}, inside),
    version: inside.fill("version", service?.version, ""),
    deterministic: inside.fill("deterministic", service?.deterministic, false),
    batchSize: inside.fill("batchSize", service?.batchSize, batchSize),
    batchWaitMs: inside.fill("batchWaitMs", service?.batchWaitMs, 20),
    concurrency: inside.fill("concurrency", service?.concurrency, 4),
    retryForMs: inside.fill("retryForMs", service?.retryForMs, 300_000),
  };
}

const SAMPLES_OF_A_CALL = 64;

/** Types that this file fills. */
export type ServiceType = "http" | "grpc" | "judge" | "ensemble";

export function isServiceType(type: RewardType): type is ServiceType {
  return Object.hasOwn(SERVICE_BLOCKS, type);
}

export const SERVICE_BLOCKS: {
  readonly [T in ServiceType]: Fill<T>;
} = {
  http: (reward, at) => ({
    type: "http",
    http: { url: at.inside("http").given("url", reward.http?.url) },
    service: fillService(reward, at, SAMPLES_OF_A_CALL),
  }),
  grpc: (reward, at) => {
    const [grpc, inside] = [reward.grpc, at.inside("grpc")];
    return {
      type: "grpc",
      grpc: {
        address: inside.given("address", grpc?.address),
        scorer: inside.derive("scorer", grpc?.scorer, reward.name, "the reward's name"),
        tls: inside.fill("tls", grpc?.tls, reward.service?.tls !== undefined),
      },
      service: fillService(reward, at, SAMPLES_OF_A_CALL),
    };
  },
  judge: (reward, at) => {
    const [judge, inside] = [reward.judge, at.inside("judge")];
    return {
      type: "judge",
      judge: {
        url: inside.given("url", judge?.url),
        model: inside.given("model", judge?.model),
        rubric: inside.given("rubric", judge?.rubric),
        prompt: inside.fill("prompt", judge?.prompt, JUDGE_PROMPT),
        min: inside.fill("min", judge?.min, 0),
        max: inside.fill("max", judge?.max, 10),
        temperature: inside.fill("temperature", judge?.temperature, 0),
        maxTokens: inside.fill("maxTokens", judge?.maxTokens, 16),
      },
      // A call of the chat API holds one sample.
      service: fillService(reward, at, 1),
    };
  },
  ensemble: (reward, at) => {
    const [ensemble, inside] = [reward.ensemble, at.inside("ensemble")];
    return {
      type: "ensemble",
      ensemble: {
        from: inside.given("from", ensemble?.from),
        combine: inside.fill("combine", ensemble?.combine, "mean"),
        lambda: inside.fill("lambda", ensemble?.lambda, 1),
      },
    };
  },
};

/** Only what the user asked for: a plan without it is the plan that it was. */
export function fillShaping({ clip, normalize }: RewardSpec, at: Scope): ScoreShaping {
  return {
    ...(clip === undefined ? {} : { clip: at.given("clip", clip) }),
    ...(normalize === "running" ? { normalize: at.given("normalize", normalize) } : {}),
  };
}
