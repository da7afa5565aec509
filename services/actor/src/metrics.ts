/** Every number of an actor, with its unit: those of its status, and the instruments of telemetry. */
import type { GeneratorStats } from "@oarlock/generation";
import { SECONDS_BOUNDARIES } from "@oarlock/runtime";
import type { Instrument, Meter, Recorder } from "@oarlock/runtime";
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

type InstrumentName =
  | "queueWait"
  | "firstToken"
  | "perToken"
  | "tokens"
  | "groups"
  | "handedBack"
  | "parked"
  | "slots"
  | "inHand"
  | "policy";

/** What an actor measures. */
export const ACTOR_INSTRUMENTS: Readonly<Record<InstrumentName, Instrument>> = {
  queueWait: {
    name: "oarlock.actor.queue.wait",
    kind: "histogram",
    unit: "s",
    description: "Between the dispatch of a work item and its arrival at an actor",
    boundaries: SECONDS_BOUNDARIES,
  },
  firstToken: {
    name: "gen_ai.server.time_to_first_token",
    kind: "histogram",
    unit: "s",
    description: "Between the submission of a sample and its first token",
    boundaries: SECONDS_BOUNDARIES,
  },
  perToken: {
    name: "gen_ai.server.time_per_output_token",
    kind: "histogram",
    unit: "s",
    description: "Time per token of a sample after its first",
    boundaries: SECONDS_BOUNDARIES,
  },
  tokens: {
    name: "oarlock.actor.tokens",
    kind: "counter",
    unit: "{token}",
    description: "Sampled tokens",
  },
  groups: {
    name: "oarlock.actor.items.answered",
    kind: "counter",
    unit: "{item}",
    description: "Work items answered",
  },
  handedBack: {
    name: "oarlock.actor.items.handed_back",
    kind: "counter",
    unit: "{item}",
    description: "Work items given back to the queue unfinished",
  },
  parked: {
    name: "oarlock.actor.items.parked",
    kind: "counter",
    unit: "{item}",
    description: "Work items that no retry can do",
  },
  slots: {
    name: "oarlock.actor.slots",
    kind: "gauge",
    unit: "{slot}",
    description: "Sequences that can be decoded at a time",
  },
  inHand: {
    name: "oarlock.actor.samples.in_hand",
    kind: "gauge",
    unit: "{sample}",
    description: "Samples being generated or waiting for a slot",
  },
  policy: {
    name: "oarlock.actor.policy.version",
    kind: "gauge",
    unit: "{version}",
    description: "Policy version that the generator runs on; -1 before the first",
  },
};

/** Where the actor's loop puts what it measures. */
export interface ActorRecorders {
  readonly queueWait: Recorder;
  readonly firstToken: Recorder;
  readonly perToken: Recorder;
  readonly tokens: Recorder;
}

/** The recorders of one actor. */
export function actorRecorders(meter: Meter): ActorRecorders {
  const { queueWait, firstToken, perToken, tokens } = ACTOR_INSTRUMENTS;
  return {
    queueWait: meter.recorder(queueWait),
    firstToken: meter.recorder(firstToken),
    perToken: meter.recorder(perToken),
    tokens: meter.recorder(tokens),
  };
}

/** What is read at every collection. */
export function observeActor(
  meter: Meter,
  read: { readonly state: () => ActorState; readonly policy: () => number },
): void {
  const { groups, handedBack, parked, slots, inHand, policy } = ACTOR_INSTRUMENTS;
  const { state } = read;
  meter.observe(groups, () => state().groupsCompleted);
  meter.observe(handedBack, () => state().groupsHandedBack);
  meter.observe(parked, () => state().itemsParked);
  meter.observe(slots, () => state().slots);
  meter.observe(inHand, () => samplesInHand(state()));
  meter.observe(policy, read.policy);
}
