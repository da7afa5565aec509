/** Blocks of rewards that other processes or several models give. Knows bounds and forms, not how they are called. */
import * as z from "zod";
import type {
  EnsembleRewardSpec,
  GrpcRewardSpec,
  HttpRewardSpec,
  JudgeRewardSpec,
  ScoreClip,
  ServiceSpec,
  ServiceTlsSpec,
} from "../reward-services.ts";
import { ENSEMBLE_COMBINATIONS, REWARD_NORMALIZATIONS, SCORE_SCOPES } from "../vocabulary.ts";
import {
  choice,
  closed,
  integer,
  list,
  real,
  ruled,
  scorerReference,
  text,
  secretKey,
} from "./primitives.ts";

/** Scores beyond this are typing errors. */
const LARGE = 1e6;
const MAX_MEMBERS = 8;
const HOUR_MS = 3_600_000;

/** Without user, query or fragment: they are where secrets hide, and the plan is no place for one. */
const url = (): z.ZodString => text(512).regex(/^https?:\/\/[^\s@?#]+$/);

const http: z.ZodType<HttpRewardSpec> = closed({
  url: url().describe("Where batches are posted as JSON; no passwords or queries."),
}).describe("A scorer behind HTTP.");

const grpc: z.ZodType<GrpcRewardSpec> = closed({
  address: text(255)
    .regex(/^[^\s/@]+:[0-9]{1,5}$/)
    .describe("host:port of a server of oarlock.v1.RewardService."),
  scorer: text(64).describe("Its scorer to ask (default: the reward's name).").optional(),
  tls: z.boolean().describe("Whether to use TLS; with service.tls it is.").optional(),
}).describe("A scorer behind gRPC.");

const judge: z.ZodType<JudgeRewardSpec> = closed({
  url: url().describe("Base of an OpenAI-compatible API, e.g. http://host:8000/v1."),
  model: text(256).describe("Its model."),
  rubric: text(8192).describe("What a good answer is."),
  prompt: text(8192).describe("Template with {rubric}, {prompt}, {completion}, {min}, {max}.").optional(),
  min: real(-LARGE, LARGE).describe("Lowest score.").optional(),
  max: real(-LARGE, LARGE).describe("Highest score.").optional(),
  temperature: real(0, 2).describe("Of the judge's sampling.").optional(),
  maxTokens: integer(1, 65_536).describe("Tokens of its answer at most.").optional(),
}).describe("A language model that scores by a rubric.");

const ensemble: z.ZodType<EnsembleRewardSpec> = closed({
  from: list(scorerReference(), 2, MAX_MEMBERS).describe("Reward models."),
  combine: choice(ENSEMBLE_COMBINATIONS).describe("How their scores become one.").optional(),
  lambda: real(0, LARGE).describe("Weight of the variance in mean-variance.").optional(),
}).describe("Several reward models as one.");

const tls: z.ZodType<ServiceTlsSpec> = ruled(
  closed({
    caFile: text(1024).describe("Authorities of its certificate.").optional(),
    certFile: text(1024).describe("Certificate to show it.").optional(),
    keyFile: text(1024).describe("Key of that certificate.").optional(),
    serverName: text(253).describe("Name in its certificate, if not the address's.").optional(),
  }),
  [
    {
      rule: "has(self.certFile) == has(self.keyFile)",
      message: "a client certificate and its key are given together",
      path: ["certFile"],
      accepted: "certFile and keyFile, or neither",
      holds: ({ certFile, keyFile }) => (certFile === undefined) === (keyFile === undefined),
    },
  ],
);

const service: z.ZodType<ServiceSpec> = ruled(
  closed({
    tokenEnv: text(64)
      .regex(/^[A-Z][A-Z0-9_]*$/)
      .describe("Environment variable with the bearer token.")
      .optional(),
    tokenFile: text(1024).describe("File with the bearer token.").optional(),
    tls: tls.describe("PEM files of the connection.").optional(),
    tokenSecretRef: secretKey("Key in it.").describe("Where pods get tokenEnv from.").optional(),
    version: text(128).describe("Version that its verdicts must carry.").optional(),
    scope: choice(SCORE_SCOPES).describe("What its scores are of.").optional(),
    deterministic: z.boolean().describe("Whether a sample's score is always the same.").optional(),
    batchSize: integer(1, 4096).describe("Samples of one call at most.").optional(),
    batchWaitMs: integer(0, 60_000).describe("Wait for a fuller call, in milliseconds.").optional(),
    concurrency: integer(1, 256).describe("Calls at the same time at most.").optional(),
    retryForMs: integer(0, HOUR_MS).describe("How long calls are tried again.").optional(),
  }),
  [
    {
      rule: "!has(self.tokenEnv) || !(self.tokenEnv.startsWith('OARLOCK_') || self.tokenEnv.startsWith('NATS_'))",
      message: "Oarlock's own settings are no tokens of others",
      path: ["tokenEnv"],
      accepted: "another variable, e.g. SCORER_TOKEN",
      holds: ({ tokenEnv }) => typeof tokenEnv !== "string" || !/^(OARLOCK|NATS)_/.test(tokenEnv),
    },
    {
      rule: "!has(self.tokenEnv) || !has(self.tokenFile)",
      message: "a token comes from one place",
      path: ["tokenFile"],
      accepted: "tokenEnv or tokenFile",
      holds: ({ tokenEnv, tokenFile }) => tokenEnv === undefined || tokenFile === undefined,
    },
  ],
);

const clip: z.ZodType<ScoreClip> = ruled(
  closed({
    min: real(-LARGE, LARGE).describe("Lower scores count as this."),
    max: real(-LARGE, LARGE).describe("Higher scores count as this."),
  }),
  [
    {
      rule: "self.min < self.max",
      message: "min is not below max",
      path: ["min"],
      accepted: "a min below max",
      holds: ({ min, max }) => typeof min !== "number" || typeof max !== "number" || min < max,
    },
  ],
);

/** What every reward may say besides its block. */
export const rewardExtras: {
  readonly clip: z.ZodOptional<z.ZodType<ScoreClip>>;
  readonly normalize: z.ZodOptional<z.ZodType<(typeof REWARD_NORMALIZATIONS)[number]>>;
  readonly service: z.ZodOptional<z.ZodType<ServiceSpec>>;
} = {
  clip: clip.describe("Bounds of the score in the total, after normalize.").optional(),
  normalize: choice(REWARD_NORMALIZATIONS).describe("Scale by running mean and deviation.").optional(),
  service: service.describe("How a scorer of another process is called.").optional(),
};

/** The blocks of types `http`, `grpc`, `judge` and `ensemble`. */
export const rewardServiceBlocks: {
  readonly http: z.ZodOptional<z.ZodType<HttpRewardSpec>>;
  readonly grpc: z.ZodOptional<z.ZodType<GrpcRewardSpec>>;
  readonly judge: z.ZodOptional<z.ZodType<JudgeRewardSpec>>;
  readonly ensemble: z.ZodOptional<z.ZodType<EnsembleRewardSpec>>;
} = {
  http: http.optional(),
  grpc: grpc.optional(),
  judge: judge.optional(),
  ensemble: ensemble.optional(),
};
