/** What work is for, by name and as the contract numbers it. */
import { RolloutPurpose } from "@oarlock/proto";
import type { WorkPurpose } from "./identity.ts";

const NUMBERS: { readonly [Purpose in WorkPurpose]: RolloutPurpose } = {
  rollout: RolloutPurpose.ROLLOUT,
  evaluation: RolloutPurpose.EVALUATION,
};

const NAMES: ReadonlyMap<RolloutPurpose, string> = new Map(
  Object.entries(NUMBERS).map(([name, number]) => [number, name]),
);

/** The purpose's number in messages. */
export function rolloutPurpose(purpose: WorkPurpose): RolloutPurpose {
  return NUMBERS[purpose];
}

/** Undefined for a purpose that this version does not know. */
export function workPurpose(purpose: RolloutPurpose): WorkPurpose | undefined {
  return NAMES.get(purpose) as WorkPurpose | undefined;
}
