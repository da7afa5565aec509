/**
 * What users write: a reward function in a file of their own.
 *
 *     import { defineReward } from "@oarlock/rewards";
 *     export const reward = defineReward(({ completion, row }) => (completion.includes(String(row.answer)) ? 1 : 0));
 */
import { type Failed, failed, scored, type ScoringInput, type Verdict } from "./verdict.ts";

/** What a reward function sees of one completion. */
export interface RewardInput {
  readonly prompt: string;
  readonly completion: string;
  /** Tokens of the completion. */
  readonly completionTokens: number;
  /** Whether the length limit cut it. */
  readonly truncated: boolean;
  /** The data row's fields. */
  readonly row: Readonly<Record<string, unknown>>;
}

/** A finite number, a number with a word of explanation, or `failed(…)` where there is no judgement. */
export type RewardResult = number | { readonly value: number; readonly explanation?: string } | Failed;

/** What a reward file exports: a number, or more about it, for one sample. */
export type RewardFunction = (input: RewardInput) => RewardResult | Promise<RewardResult>;

/** Types a reward function; returns it as it is. */
export function defineReward(reward: RewardFunction): RewardFunction {
  return reward;
}

/** The verdict of a reward function on one input. What it throws or returns wrongly is a failure, never a number (S1). */
export async function applyReward(reward: RewardFunction, input: ScoringInput): Promise<Verdict> {
  const { prompt, completion, completionTokens, truncated, fields } = input;
  try {
    return toVerdict(await reward({ prompt, completion, completionTokens, truncated, row: fields }));
  } catch (reason) {
    return failed(
      "REWARD_THREW",
      reason instanceof Error ? `${reason.name}: ${reason.message}` : String(reason),
    );
  }
}

function toVerdict(result: unknown): Verdict {
  if (typeof result === "number") return scored(result);
  if (typeof result === "object" && result !== null) {
    if ("type" in result && result.type === "failed" && "reason" in result)
      return failed("REWARD_FAILED", String(result.reason));
    if ("value" in result && typeof result.value === "number") {
      const { explanation } = { explanation: undefined, ...result };
      return scored(result.value, explanation === undefined ? undefined : String(explanation));
    }
  }
  return failed(
    "REWARD_RESULT",
    `a reward is a number, { value, explanation } or failed(…); got ${written(result)}`,
  );
}

/** A value of any kind in a few words: big integers, and what JSON cannot hold, too. */
function written(value: unknown): string {
  if (typeof value === "bigint") return `${value}n`;
  try {
    return JSON.stringify(value) ?? typeof value;
  } catch {
    return "an object that is no JSON";
  }
}
