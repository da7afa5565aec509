/** What a reward worker measures, with units, for its status. Instruments of telemetry are built on these. */
import type { RewardState } from "./state.ts";

export interface RewardNumbers {
  /** Trajectories whose scorers all gave a score, since the start. */
  readonly trajectoriesScored: bigint;
  /** Trajectories with at least one failed scorer, since the start. */
  readonly trajectoriesFailed: bigint;
}

/** The numbers of a status. */
export function rewardNumbers(state: RewardState): RewardNumbers {
  return {
    trajectoriesScored: BigInt(state.trajectoriesScored),
    trajectoriesFailed: BigInt(state.trajectoriesFailed),
  };
}

/** Depth of the worker's queue, in batches. */
export function rewardQueues(
  state: RewardState,
): { readonly name: string; readonly depth: number; readonly capacity: number }[] {
  return [{ name: "batches in hand", depth: state.inHand.length, capacity: state.capacity }];
}
