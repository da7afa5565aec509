/** What an actor measures, with units, for its status: queues, slots, tokens. Instruments of telemetry are built on these. */
import type { GeneratorStats } from "@oarlock/generation";
import { samplesInHand } from "./state.ts";
import type { ActorState } from "./state.ts";

export interface ActorNumbers {
  /** Sequences that can be decoded at a time. */
  readonly slots: number;
  /** Sequences being decoded now. */
  readonly slotsBusy: number;
  /** Sampled tokens since the start. */
  readonly tokensGenerated: bigint;
  /** Work items answered since the start. */
  readonly groupsCompleted: bigint;
  /** Mean share of slots in use while decoding, 0 to 1. */
  readonly occupancy: number;
}

/** The numbers of a status. */
export function actorNumbers(state: ActorState, stats: GeneratorStats): ActorNumbers {
  return {
    slots: state.slots,
    slotsBusy: stats.activeSamples,
    tokensGenerated: BigInt(stats.tokens),
    groupsCompleted: BigInt(state.groupsCompleted),
    occupancy: stats.occupancy,
  };
}

/** Depths of the actor's queues, in samples. */
export function actorQueues(
  state: ActorState,
  stats: GeneratorStats,
): { readonly name: string; readonly depth: number; readonly capacity: number }[] {
  return [
    { name: "samples in hand", depth: samplesInHand(state), capacity: 2 * state.slots },
    { name: "samples waiting for a slot", depth: stats.waitingSamples, capacity: 2 * state.slots },
  ];
}
