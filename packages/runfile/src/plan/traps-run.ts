/** Traps across blocks: lineage, evaluation on training data, data too small, an evaluation without a metric. */
import type { ResolvedEvaluation, ResolvedStage } from "../resolved.ts";
import { batchesInFlight } from "../pipeline.ts";
import { blockOf, rolloutsOf, untilOf } from "../stage-parts.ts";
import { lineage } from "./traps-lineage.ts";
import { canonicalJson } from "./digest.ts";
import { dataUses } from "./inputs.ts";
import { type AllowableTrap, promptsTooLong, type Trap, type TrapCheck, trapWhen } from "./trap.ts";

const lag: TrapCheck = ({ spec: { pipeline, stages } }) => {
  const ahead = batchesInFlight(pipeline) - 1;
  const field = pipeline.mode === "lockstep" ? "lag" : "maxStaleness";
  return stages.flatMap((stage, index) =>
    trapWhen(ahead >= (rolloutsOf(stage)?.steps ?? Number.POSITIVE_INFINITY), () => ({
      code: "LAG_TOO_LONG",
      path: ["spec", "pipeline", field],
      message: `with ${field} ${ahead}, all steps of stage ${index + 1} would be sampled before the first update`,
      value: String(ahead),
      accepted: `a ${field} below the steps of every stage that samples; ${field === "lag" ? "0 or 1" : "1 to 8"} are usual`,
    })),
  );
};

const streaming: TrapCheck = ({ spec: { pipeline, stages } }) =>
  trapWhen(pipeline.mode === "streaming" && stages.every((stage) => rolloutsOf(stage) === undefined), () => ({
    code: "STREAMING_WITHOUT_ROLLOUTS",
    path: ["spec", "pipeline", "mode"],
    message: "no stage samples: nothing would be streamed, and the run would not be reproducible",
    value: "streaming",
    accepted: "mode: lockstep, or a stage of type grpo or ppo",
  }));

/** Rows that one step takes. */
function rowsOfStep(stage: ResolvedStage): number {
  if (stage.type === "sft") return stage.sft.batchSize;
  return (
    rolloutsOf(stage)?.promptsPerStep ?? (stage.type === "reward-model" ? stage[stage.type].batchSize : 1)
  );
}

const dataSize: TrapCheck = ({ spec, facts }) =>
  dataUses(spec).flatMap(({ path, purpose }) => {
    const rows = facts.data.get(path)?.rows;
    const [, stageIndex] = path.split(".");
    const stage = purpose === "evaluation" ? undefined : spec.stages[Number(stageIndex)];
    const mixed = stage?.type === "ppo" && path.includes(".ptx.") ? stage.ppo.ptx : undefined;
    const needed = stage === undefined ? 1 : (mixed?.batchSize ?? rowsOfStep(stage));
    const at = ["spec", ...path.split(".").map((step) => (/^\d+$/.test(step) ? Number(step) : step))];
    if (rows === 0) {
      return [
        {
          code: "DATA_EMPTY",
          path: at,
          message: "the data has no rows that can be used",
          value: "0 rows",
          accepted: "at least one row",
        },
      ];
    }
    return trapWhen(rows !== undefined && rows < needed, (): AllowableTrap => ({
      code: "DATA_SMALLER_THAN_STEP",
      path: at,
      message: `one step takes ${needed} rows, and the data has ${rows}: rows would repeat within a batch`,
      value: `${rows} rows`,
      accepted: `at most ${rows} rows per step, or allow: [DATA_SMALLER_THAN_STEP]`,
    }));
  });

/** Prompts come twice in large data sets by chance; from this share on, the numbers of an evaluation are of memory. */
const SHARED_TOO_MANY = 0.1;

const evaluationOnTraining: TrapCheck = ({ spec, facts }) => {
  const [held, ...training] = dataUses(spec).toReversed();
  if (held?.purpose !== "evaluation") return [];
  const { rows = 0, shared = {} } = facts.data.get(held.path) ?? {};
  const trap = (message: string): AllowableTrap => ({
    code: "EVALUATION_ON_TRAINING_DATA",
    path: ["spec", "evaluation", "data"],
    message: `${message}: it would measure memory`,
    accepted: "another split or file, or allow: [EVALUATION_ON_TRAINING_DATA]",
  });
  const same = training.find(({ data }) => canonicalJson(data) === canonicalJson(held.data));
  if (same !== undefined) return [trap(`evaluates on the rows that ${same.path} trains on`)];
  // A reward model learns which answers are better, not to give them.
  const ofPolicy = training.filter(({ purpose }) => purpose !== "reward-model");
  const overlap = ofPolicy.find(({ path }) => {
    const count = shared[path] ?? 0;
    return count > 0 && count >= SHARED_TOO_MANY * rows;
  });
  if (overlap === undefined) return [];
  return [
    trap(`${shared[overlap.path]} of its ${rows} prompts are among those that ${overlap.path} trains on`),
  ];
};

interface EvaluationRoom {
  readonly maxPositions: number;
  /** Tokens of the longest prompt; 0 where not measured. */
  readonly longest: number;
}

function evaluationChecks(evaluation: ResolvedEvaluation, { maxPositions, longest }: EvaluationRoom): Trap[] {
  const { temperature, samples, rewards, metric, maxPromptLength, maxNewTokens } = evaluation;
  const path = ["spec", "evaluation"];
  const room = maxPositions - maxNewTokens;
  return [
    ...trapWhen(temperature === 0 && samples > 1, () => ({
      code: "GREEDY_SAMPLES",
      path: [...path, "samples"],
      message: `at temperature 0 all ${samples} samples of a prompt are alike`,
      value: String(samples),
      accepted: "samples: 1, or a temperature above 0 (greedy: true adds one greedy sample)",
    })),
    ...trapWhen(rewards.length === 0, () => ({
      code: "EVALUATION_WITHOUT_REWARD",
      path,
      message: "the run has no stage that samples, whose rewards the evaluation could use",
      accepted: "evaluation.rewards: [{name, type, …}]",
    })),
    ...trapWhen(rewards.length > 0 && !rewards.some(({ name }) => name === metric), () => ({
      code: "METRIC_UNKNOWN",
      path: [...path, "metric"],
      message: "no reward of the evaluation has this name",
      value: JSON.stringify(metric),
      accepted: `one of ${rewards.map(({ name }) => name).join(", ")}`,
    })),
    ...trapWhen(maxPromptLength + maxNewTokens > maxPositions, () => ({
      code: "CONTEXT_TOO_SHORT",
      path: [...path, "maxNewTokens"],
      message: `prompts of ${maxPromptLength} and completions of ${maxNewTokens} tokens do not fit ${maxPositions} positions`,
      value: String(maxNewTokens),
      accepted: `at most ${Math.max(1, maxPositions - maxPromptLength)}`,
    })),
    ...trapWhen(longest > maxPromptLength, () => promptsTooLong(path, { longest, maxPromptLength, room })),
  ];
}

const evaluation: TrapCheck = ({ spec, shape: { maxPositions }, facts }) => {
  const longest = facts.data.get("evaluation.data")?.longestPrompt ?? 0;
  return spec.evaluation === undefined ? [] : evaluationChecks(spec.evaluation, { maxPositions, longest });
};

/** A stage that waits for an evaluation to end it: one that nobody makes would never do so. */
const untilSeen: TrapCheck = ({ spec }) =>
  spec.stages.flatMap((stage, index) => {
    const until = untilOf(stage);
    if (until === undefined) return [];
    const path = ["spec", "stages", index, stage.type, "until"];
    const { every = 0, greedy = true } = spec.evaluation ?? {};
    const { steps } = blockOf(stage);
    return [
      ...trapWhen(every === 0 || every >= steps, () => ({
        code: "UNTIL_UNSEEN",
        path,
        message: "no evaluation comes between the stage's steps, to end it",
        ...(every === 0 ? {} : { value: `evaluation.every: ${every}, steps: ${steps}` }),
        accepted: "evaluation: {every: N, …} with N from 1 on and below the stage's steps, or no until",
      })),
      ...trapWhen(until.score === "greedy" && !greedy, () => ({
        code: "UNTIL_UNSEEN",
        path: [...path, "score"],
        message: "the evaluation makes no greedy completions",
        value: "greedy",
        accepted: "evaluation.greedy: true, or score: mean",
      })),
      ...trapWhen(until.score === "pass" && until.atLeast > 1, () => ({
        code: "UNTIL_UNREACHABLE",
        path: [...path, "atLeast"],
        message: "pass@k is a share of prompts",
        value: String(until.atLeast),
        accepted: "at most 1, or score: mean",
      })),
    ];
  });

/** Checks across blocks. */
export const RUN_TRAPS: readonly TrapCheck[] = [
  lineage,
  lag,
  streaming,
  dataSize,
  evaluationOnTraining,
  evaluation,
  untilSeen,
];
