/**
 * Tokens per step, and how long a run takes given measured rates. The rates are only printed with (D1): they never
 * enter the resolved run. Pure.
 */
import { batchesInFlight } from "../pipeline.ts";
import type { ResolvedSpec, ResolvedStage } from "../resolved.ts";

/** Rates measured on this machine with this model. */
export interface Calibration {
  /** Forward, backward and update, in tokens per second. */
  readonly trainTokensPerSecond: number;
  /** Sampled tokens per second, all actors together. */
  readonly generateTokensPerSecond: number;
}

/** Work of one step, upper bounds: every sequence at its longest. */
export interface StageTokens {
  readonly stage: string;
  readonly steps: number;
  /** Sequences per step. */
  readonly sequences: number;
  readonly generatedTokens: number;
  /** Tokens through forward and backward, all epochs. */
  readonly trainedTokens: number;
}

/** Work per step of one stage. `longestPrompt` bounds prompts where the data is known to be shorter. */
export function stageTokens(stage: ResolvedStage, longestPrompt: number): StageTokens {
  if (stage.type === "sft") {
    const { steps, batchSize, maxLength } = stage.sft;
    const length = longestPrompt > 0 ? Math.min(longestPrompt, maxLength) : maxLength;
    return {
      stage: stage.name,
      steps,
      sequences: batchSize,
      generatedTokens: 0,
      trainedTokens: batchSize * length,
    };
  }
  if (stage.type === "reward-model") {
    const { steps, batchSize, maxLength, answers } = stage["reward-model"];
    const length = longestPrompt > 0 ? Math.min(longestPrompt, maxLength) : maxLength;
    const sequences = answers * batchSize;
    return { stage: stage.name, steps, sequences, generatedTokens: 0, trainedTokens: sequences * length };
  }
  // A critic of its own reads and learns what the policy does; on one trunk it is one network.
  const networks = stage.type === "ppo" && stage.ppo.critic.network === "own" ? 2 : 1;
  const { steps, promptsPerStep, groupSize, epochs, maxPromptLength, sampling } =
    stage.type === "grpo" ? stage.grpo : stage.ppo;
  const sequences = promptsPerStep * groupSize;
  const prompt = longestPrompt > 0 ? Math.min(longestPrompt, maxPromptLength) : maxPromptLength;
  return {
    stage: stage.name,
    steps,
    sequences,
    generatedTokens: sequences * sampling.maxNewTokens,
    trainedTokens: networks * epochs * sequences * (prompt + sampling.maxNewTokens),
  };
}

export interface TimeEstimate {
  readonly stages: readonly {
    readonly stage: string;
    readonly stepSeconds: number;
    readonly seconds: number;
    /** Actors like the measured one that generate as fast as the learner trains; 0 of a stage that samples nothing. */
    readonly actorsToKeepUp: number;
  }[];
  readonly evaluationSeconds: number;
  readonly totalSeconds: number;
}

export interface TimeOptions {
  readonly spec: ResolvedSpec;
  readonly tokens: readonly StageTokens[];
  readonly calibration: Calibration;
  /** Prompts of the evaluation. */
  readonly evaluationRows: number;
}

/** With lag, and in streaming mode, generation and training overlap: a step takes the longer of the two; without, their sum. */
export function estimateTime({ spec, tokens, calibration, evaluationRows }: TimeOptions): TimeEstimate {
  const { trainTokensPerSecond, generateTokensPerSecond } = calibration;
  const stages = tokens.map(({ stage, steps, generatedTokens, trainedTokens }) => {
    const generate = generatedTokens / generateTokensPerSecond;
    const train = trainedTokens / trainTokensPerSecond;
    const stepSeconds = batchesInFlight(spec.pipeline) > 1 ? Math.max(generate, train) : generate + train;
    const actorsToKeepUp = train > 0 ? generate / train : Infinity;
    return { stage, stepSeconds, seconds: steps * stepSeconds, actorsToKeepUp };
  });
  const evaluationSeconds =
    (evaluationTokens(spec, evaluationRows) * evaluations(spec, tokens)) / generateTokensPerSecond;
  const totalSeconds = stages.reduce((sum, { seconds }) => sum + seconds, evaluationSeconds);
  return { stages, evaluationSeconds, totalSeconds };
}

function evaluationTokens({ evaluation }: ResolvedSpec, rows: number): number {
  if (evaluation === undefined) return 0;
  return rows * evaluation.maxNewTokens * (evaluation.samples + (evaluation.greedy ? 1 : 0));
}

/** Before the first stage, after each, and every `every` steps between. */
function evaluations({ evaluation }: ResolvedSpec, tokens: readonly StageTokens[]): number {
  const every = evaluation?.every ?? 0;
  const between = tokens.reduce(
    (sum, { steps }) => sum + (every > 0 ? Math.floor((steps - 1) / every) : 0),
    0,
  );
  return 1 + tokens.length + between;
}
