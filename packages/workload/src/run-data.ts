/** The data of a run, read, checked against the plan's digests (D1) and tokenised. */
import type { Dataset, Row } from "@oarlock/data";
import { OarlockError, shortDigest } from "@oarlock/errors";
import { dataUses, rolloutsOf } from "@oarlock/runfile";
import type { ResolvedRewardModel, ResolvedRun } from "@oarlock/runfile";
import type { Tokenizer } from "@oarlock/tokenizer";
import type { TrainingRow } from "@oarlock/training";
import { openData } from "./data.ts";
import { renderingOf } from "./tokens.ts";
import { demonstrationRows, labelledSteps, preferenceRankings, promptRows } from "./rows.ts";
import type { Preferences, PromptRow, Split, StepLabels } from "./rows.ts";

/** Data of a run, tokenised once, before the first step. */
export interface RunData {
  /** Of a supervised stage, or mixed into one of PPO, masked as its plan says. */
  demonstrations(stage: number): readonly TrainingRow[];
  /** Of a rollout stage. */
  prompts(stage: number): readonly PromptRow[];
  /** Of a reward model's stage that learns from preferences. */
  preferences(stage: number): Preferences;
  /** Of a reward model's stage that learns from labelled steps. */
  stepLabels(stage: number): StepLabels;
  readonly evaluation: readonly PromptRow[];
  /** Name of the evaluation data in metrics, e.g. "addition". */
  readonly evaluationName: string;
  /** Tokens that end a completion. */
  readonly stopTokens: readonly number[];
  /** For samples that people read; the learner trains on tokens. */
  decode(tokens: readonly number[]): string;
}

export interface RunDataOptions {
  readonly run: ResolvedRun;
  /** Folder that relative paths are relative to. */
  readonly baseDir: string;
  readonly tokenizer: Tokenizer;
  readonly stopTokens: readonly number[];
  readonly signal?: AbortSignal;
}

const NOTHING: Split<never> = { training: [], heldOut: [], overlong: 0, otherCount: 0 };

/** Opens every data set of the plan. Throws `DATA_CHANGED` where one is not what the plan was made with. */
export async function openRunData(options: RunDataOptions): Promise<RunData> {
  const { run, tokenizer, stopTokens } = options;
  const { evaluation, stages } = run.spec;
  const demonstrations: (readonly TrainingRow[])[] = [];
  const prompts: (readonly PromptRow[])[] = [];
  const judged: RewardRows[] = [];
  for (const [index, stage] of stages.entries()) {
    const { rows } = await opened(options, `stages.${index}.${stage.type}.data`);
    const rollouts = rolloutsOf(stage);
    if (stage.type === "sft") {
      const { data, maxLength, mask } = stage.sft;
      const settings = { tokenizer, rendering: renderingOf(data), maxTokens: maxLength, mask };
      demonstrations[index] = await demonstrationRows(rows, settings);
    } else if (stage.type === "reward-model") {
      judged[index] = await rewardRows(rows, stage["reward-model"], { seed: run.spec.seed, tokenizer });
    } else if (rollouts !== undefined) {
      const { data, maxPromptLength } = rollouts;
      const settings = { tokenizer, rendering: renderingOf(data), maxTokens: maxPromptLength };
      prompts[index] = await promptRows(rows, settings);
    }
    if (stage.type === "ppo" && stage.ppo.ptx !== undefined) {
      const { data, maxLength, mask } = stage.ppo.ptx;
      const mixed = await opened(options, `stages.${index}.ppo.ptx.data`);
      const settings = { tokenizer, rendering: renderingOf(data), maxTokens: maxLength, mask };
      demonstrations[index] = await demonstrationRows(mixed.rows, settings);
    }
  }
  const evaluated = evaluation === undefined ? undefined : await opened(options, "evaluation.data");
  const evaluationPrompts =
    evaluation === undefined || evaluated === undefined
      ? []
      : await promptRows(evaluated.rows, {
          tokenizer,
          rendering: renderingOf(evaluation.data),
          maxTokens: evaluation.maxPromptLength,
        });
  return {
    demonstrations: (stage) => demonstrations[stage] ?? [],
    prompts: (stage) => prompts[stage] ?? [],
    preferences: (stage) => judged[stage]?.preferences ?? NOTHING,
    stepLabels: (stage) => judged[stage]?.stepLabels ?? NOTHING,
    evaluation: evaluationPrompts,
    evaluationName: evaluated?.name ?? "",
    stopTokens,
    decode: (tokens) => tokenizer.decode(tokens, { skipSpecialTokens: true }),
  };
}

/** What a reward model's stage learns from, by its loss. */
interface RewardRows {
  readonly preferences?: Preferences;
  readonly stepLabels?: StepLabels;
}

async function rewardRows(
  rows: readonly Row[],
  { data, maxLength, heldOut, fold, answers, stepEnd }: ResolvedRewardModel,
  common: { readonly seed: number; readonly tokenizer: Tokenizer },
): Promise<RewardRows> {
  const settings = { ...common, rendering: renderingOf(data), maxTokens: maxLength, heldOut, fold };
  return stepEnd === undefined
    ? { preferences: await preferenceRankings(rows, { ...settings, answers }) }
    : { stepLabels: await labelledSteps(rows, { ...settings, stepEnd }) };
}

/** The data set of the block at `path`, if it is the one that the plan was made with. */
async function opened(options: RunDataOptions, path: string): Promise<Dataset> {
  const { run, baseDir, signal } = options;
  const use = dataUses(run.spec).find((candidate) => candidate.path === path);
  if (use === undefined) throw new OarlockError("DATA_MISSING", `the plan has no data at ${path}`);
  const dataset = await openData(use.data, { baseDir, ...(signal === undefined ? {} : { signal }) });
  const planned = run.inputs.data.find((input) => input.path === path)?.digest ?? "";
  if (planned === "" || planned === dataset.digest) return dataset;
  throw new OarlockError(
    "DATA_CHANGED",
    `${path}: the data's SHA-256 is ${shortDigest(dataset.digest)}, the plan was made with ` +
      `${shortDigest(planned)}: make a new plan, or bring the data back`,
  );
}
