/** Mistakes in scorers of other processes; part of the table in `cases.ts`. */
import type { BadInput } from "./cases.ts";

export const SCORER_CASES: readonly BadInput[] = [
  {
    title: "a scorer's password in its address",
    set: ['stages.grpo.grpo.rewards=[{name: a, type: http, http: {url: "http://me:secret@host/score"}}]'],
    says: ["url"],
  },
  {
    title: "certificates for a connection in plain text",
    set: [
      'stages.grpo.grpo.rewards=[{name: a, type: http, http: {url: "http://host/score"}, service: {tls: {caFile: ca.crt}}}]',
    ],
    says: ["SCORER_TLS_UNUSED", "an https:// URL"],
  },
  {
    title: "a pattern that is no regular expression",
    set: ["stages.grpo.grpo.rewards=[{name: a, type: regex, regex: {pattern: '(7'}}]"],
    says: ["PATTERN_INVALID", "rewards[0].regex.pattern", "/(7/"],
  },
  {
    title: "a range of lengths in which none lies",
    set: ["stages.grpo.grpo.rewards=[{name: a, type: length, length: {min: 9, max: 3}}]"],
    says: ["LENGTH_RANGE_EMPTY", "rewards[0].length.min", "0 to 3"],
  },
  {
    title: "bounds for scores of tokens",
    set: [
      'stages.grpo.grpo.rewards=[{name: a, type: http, http: {url: "https://host/"}, service: {scope: token}, clip: {min: 0, max: 1}}]',
    ],
    says: ["SCORE_SCOPE_SHAPED", "no clip"],
  },
  {
    title: "a reward model that is not there",
    set: ["stages.grpo.grpo.rewards=[{name: a, type: model, model: {from: ./scorer}}]"],
    says: ["MODEL_SOURCE", "rewards[0].model.from", "does not exist", "a folder in Hugging Face layout"],
  },
  {
    title: "a stage's name in place of its result",
    set: ["stages.grpo.grpo.rewards=[{name: a, type: model, model: {from: sft}}]"],
    says: ["MODEL_SOURCE", "stage/sft for what that stage trains"],
  },
  {
    title: "a language model as a reward model",
    model: {},
    set: ["stages.grpo.grpo.rewards=[{name: a, type: model, model: {from: ./model}}]"],
    says: ["REWARD_MODEL_INVALID", "it gives text and no score", "one label"],
  },
  {
    title: "a reward model of another tokenizer",
    scorer: { alphabet: "0123456789=+" },
    set: ["stages.grpo.grpo.rewards=[{name: a, type: ensemble, ensemble: {from: [./scorer, ./scorer]}}]"],
    says: ["REWARD_MODEL_INVALID", "another tokenizer", '"+"', "the policy's tokenizer"],
  },
  {
    title: "a reward model of fewer tokens",
    scorer: { alphabet: "0123456789" },
    set: ["stages.grpo.grpo.rewards=[{name: a, type: model, model: {from: ./scorer}}]"],
    says: ["REWARD_MODEL_INVALID", "tokens", "the policy's tokenizer"],
  },
  {
    title: "a reward model that holds less than the policy writes",
    scorer: { maxPositions: 8 },
    set: ["stages.grpo.grpo.rewards=[{name: a, type: model, model: {from: ./scorer}}]"],
    says: ["CONTEXT_TOO_SHORT", "holds 8 positions", "a reward model of"],
  },
  {
    title: "bounds for a reward model's scores of steps",
    set: [
      "stages.grpo.grpo.rewards=[{name: a, type: model, model: {from: stage/rm, scope: step}, clip: {min: 0, max: 1}}]",
    ],
    says: ["SCORE_SCOPE_SHAPED", "no clip"],
  },
  {
    title: "a reward model that scores what there is not",
    set: ["stages.grpo.grpo.rewards=[{name: a, type: model, model: {from: stage/rm, scope: token}}]"],
    says: ["model.scope", "trajectory, step"],
  },
  {
    title: "the end of steps that are not scored",
    set: ['stages.grpo.grpo.rewards=[{name: a, type: model, model: {from: stage/rm, stepEnd: "."}}]'],
    says: ["model.stepEnd", "scope: step"],
  },
  {
    title: "an ensemble that scores steps",
    set: [
      "stages.grpo.grpo.rewards=[{name: a, type: ensemble, ensemble: {from: [stage/rm, stage/rm], scope: step}}]",
    ],
    says: ["ensemble.scope", "from, combine, lambda"],
  },
  {
    title: "a scorer's token from two places",
    set: [
      'stages.grpo.grpo.rewards=[{name: a, type: http, http: {url: "https://host/"}, service: {tokenEnv: A, tokenFile: a}}]',
    ],
    says: ["tokenFile", "a token comes from one place"],
  },
  {
    title: "call settings for a verifier",
    set: ["stages.grpo.grpo.rewards.answer.service={batchSize: 8}"],
    says: ["service", "http, grpc, judge"],
  },
];
