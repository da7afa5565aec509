/** A reward worker with all that it runs on, opened from the plan: scorers, and the tokenizer that they read text with. */
import { openRunScorers } from "@oarlock/workload";
import type { OpenedModel } from "@oarlock/workload";
import { startReward } from "./main.ts";
import type { RewardParts, RunningReward } from "./main.ts";

export type OpenRewardParts = Omit<RewardParts, "scorers" | "decoder"> & {
  readonly model: OpenedModel;
  /** Folder that relative paths of the plan are relative to. */
  readonly baseDir: string;
};

/** Opens and starts it. */
export async function openReward(parts: OpenRewardParts): Promise<RunningReward> {
  const { run, uid, bus, baseDir, lifecycle } = parts;
  const { tokenizer, config } = parts.model;
  const options = { baseDir, bus, uid, config, tokenizer };
  const { scorers } = lifecycle.use("scorers", await openRunScorers(run, options));
  const decoder = {
    decode: (tokens: readonly number[]) => tokenizer.decode(tokens, { skipSpecialTokens: true }),
  };
  return startReward({ ...parts, scorers, decoder });
}
