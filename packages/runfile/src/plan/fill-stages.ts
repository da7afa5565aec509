/**
 * Fills the defaults of stages and of the evaluation. Many follow from the algorithm, the model's size or other
 * values of the stage; none from the machine (D1).
 */
import type { ResolvedEvaluation, ResolvedSft, ResolvedStage } from "../resolved.ts";
import type { EvaluationSpec, SftSpec, StageSpec } from "../run-file.ts";
import { fillUntil } from "./fill-until.ts";
import { rolloutsOf } from "../stage-parts.ts";
import { fillData, fillRewards } from "./fill-data.ts";
import { fillGrpo } from "./fill-grpo.ts";
import { fillPpo } from "./fill-ppo.ts";
import { fillRewardModel } from "./fill-reward-model.ts";
import { fillStart } from "./fill-start.ts";
import type { Scope } from "./origins.ts";
import {
  bySize,
  fillOptimizer,
  lengthFor,
  microBatch,
  MOST_LENGTH,
  MOST_NEW_TOKENS,
  positions,
  type RowContext,
  type StageContext,
  warmUp,
} from "./stage-defaults.ts";

export function fillStage(
  stage: StageSpec,
  at: Scope,
  context: StageContext & { readonly index: number },
): ResolvedStage {
  const longest = context.longest?.get(`stages.${context.index}.${stage.type}.data`) ?? 0;
  const name = at.given("name", stage.name);
  const type = at.given("type", stage.type);
  const rows = { ...context, rows: longest };
  const block = at.inside(type);
  switch (type) {
    case "sft":
      return { name, type, sft: fillSft(at.given(type, stage.sft), block, rows) };
    case "reward-model":
      return { name, type, [type]: fillRewardModel(at.given(type, stage[type]), block, rows) };
    case "grpo":
      return { name, type, grpo: fillGrpo(at.given(type, stage.grpo), block, rows) };
    case "ppo":
      return { name, type, ppo: fillPpo(at.given(type, stage.ppo), block, rows) };
  }
}

function fillSft(sft: SftSpec, at: Scope, context: RowContext): ResolvedSft {
  const steps = at.given("steps", sft.steps);
  const batchSize = at.fill("batchSize", sft.batchSize, 32);
  const room = Math.min(MOST_LENGTH, positions(context));
  const longest = Math.max(2, lengthFor(context.rows, room));
  const maxLength = at.derive(
    "maxLength",
    sft.maxLength,
    longest,
    "the longest row and the model's positions",
  );
  const learningRate = context.fresh ? 1e-3 : bySize(context, [3e-4, 1e-4, 2e-5]);
  return {
    model: fillStart(sft.model, at, context),
    data: fillData(sft.data, at.inside("data")),
    steps,
    batchSize,
    microBatchSize: microBatch(sft.microBatchSize, at, { batch: batchSize, length: maxLength }),
    maxLength,
    mask: at.fill("mask", sft.mask, "completion"),
    ...fillUntil(sft.until, at),
    optimizer: fillOptimizer(sft.optimizer, at.inside("optimizer"), {
      learningRate,
      warmupSteps: warmUp(steps / 20, steps),
      schedule: "cosine",
    }),
  };
}

/** Defaults of an evaluation follow from the last stage that samples, where there is one. */
export function fillEvaluation(
  evaluation: EvaluationSpec,
  at: Scope,
  context: Omit<StageContext, "before"> & { readonly stages: readonly ResolvedStage[] },
): ResolvedEvaluation {
  const last = context.stages.map(rolloutsOf).findLast((rollouts) => rollouts !== undefined);
  const sampling = last?.sampling ?? {
    maxNewTokens: Math.max(1, Math.min(MOST_NEW_TOKENS, Math.floor(positions(context) / 2))),
  };
  const maxNewTokens = at.derive(
    "maxNewTokens",
    evaluation.maxNewTokens,
    sampling.maxNewTokens,
    "the last stage that samples",
  );
  const room = Math.max(1, Math.min(MOST_LENGTH, positions(context)) - maxNewTokens);
  const longest = lengthFor(context.longest?.get("evaluation.data") ?? 0, room);
  const rewards =
    evaluation.rewards === undefined
      ? at.derive("rewards", undefined, last?.rewards ?? [], "the last stage that samples")
      : fillRewards(evaluation.rewards, at.inside("rewards"));
  return {
    data: fillData(evaluation.data, at.inside("data")),
    every: at.fill("every", evaluation.every, 0),
    samples: at.fill("samples", evaluation.samples, 4),
    temperature: at.fill("temperature", evaluation.temperature, 1),
    topK: at.fill("topK", evaluation.topK, 0),
    topP: at.fill("topP", evaluation.topP, 1),
    maxNewTokens,
    maxPromptLength: at.derive(
      "maxPromptLength",
      evaluation.maxPromptLength,
      longest,
      "the longest prompt and the model's positions",
    ),
    greedy: at.fill("greedy", evaluation.greedy, true),
    rewards,
    metric: at.derive("metric", evaluation.metric, rewards[0]?.name ?? "", "the first reward"),
    passThreshold: at.fill("passThreshold", evaluation.passThreshold, 1),
  };
}
