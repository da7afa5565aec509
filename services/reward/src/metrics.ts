/** Every number of a reward worker, with its unit: those of its status, and the instruments of telemetry. */
import { SECONDS_BOUNDARIES } from "@oarlock/runtime";
import type { Instrument, Meter, Recorder } from "@oarlock/runtime";
import type { ScorerActivity } from "@oarlock/scoring";
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

type InstrumentName =
  | "queueWait"
  | "scoring"
  | "failures"
  | "trajectories"
  | "handedBack"
  | "parked"
  | "inHand"
  | "calls"
  | "cache"
  | "circuit";

/** What a reward worker measures. */
export const REWARD_INSTRUMENTS: Readonly<Record<InstrumentName, Instrument>> = {
  queueWait: {
    name: "oarlock.reward.queue.wait",
    kind: "histogram",
    unit: "s",
    description: "Between the sending of generated samples and their arrival at a reward worker",
    boundaries: SECONDS_BOUNDARIES,
  },
  scoring: {
    name: "oarlock.reward.scoring.duration",
    kind: "histogram",
    unit: "s",
    description: "Of one scorer on one batch, its wait for the others included",
    attributes: ["scorer"],
    boundaries: SECONDS_BOUNDARIES,
  },
  failures: {
    name: "oarlock.reward.scoring.failures",
    kind: "counter",
    unit: "{verdict}",
    description: "Verdicts that are failures, not scores (S1)",
    attributes: ["scorer"],
  },
  trajectories: {
    name: "oarlock.reward.trajectories",
    kind: "counter",
    unit: "{trajectory}",
    description: "Trajectories judged: by all their scorers, or failed by at least one",
    attributes: ["outcome"],
  },
  handedBack: {
    name: "oarlock.reward.batches.handed_back",
    kind: "counter",
    unit: "{batch}",
    description: "Batches given back to the queue unfinished",
  },
  parked: {
    name: "oarlock.reward.batches.parked",
    kind: "counter",
    unit: "{batch}",
    description: "Batches that no retry can judge",
  },
  inHand: {
    name: "oarlock.reward.batches.in_hand",
    kind: "gauge",
    unit: "{batch}",
    description: "Batches being judged",
  },
  calls: {
    name: "oarlock.reward.scorer.calls",
    kind: "counter",
    unit: "{call}",
    description: "Calls to scorers of other processes, by whether they were answered",
    attributes: ["scorer", "outcome"],
  },
  cache: {
    name: "oarlock.reward.scorer.cache",
    kind: "counter",
    unit: "{sample}",
    description: "Samples looked up among remembered scores, by whether they were there",
    attributes: ["scorer", "outcome"],
  },
  circuit: {
    name: "oarlock.reward.scorer.circuit_open",
    kind: "gauge",
    unit: "1",
    description: "1 while a scorer of another process has failed too often and is given time",
    attributes: ["scorer"],
  },
};

/** Where the worker's loop puts what it measures. */
export interface RewardRecorders {
  readonly queueWait: Recorder;
  readonly scoring: Recorder;
  readonly failures: Recorder;
}

/** The recorders of one worker. */
export function rewardRecorders(meter: Meter): RewardRecorders {
  const { queueWait, scoring, failures } = REWARD_INSTRUMENTS;
  return {
    queueWait: meter.recorder(queueWait),
    scoring: meter.recorder(scoring),
    failures: meter.recorder(failures),
  };
}

/** What is read at every collection. */
export function observeReward(
  meter: Meter,
  state: () => RewardState,
  activity: () => readonly ScorerActivity[],
): void {
  const { trajectories, handedBack, parked, inHand, calls, cache, circuit } = REWARD_INSTRUMENTS;
  meter.observe(trajectories, () => [
    { value: state().trajectoriesScored, attributes: { outcome: "scored" } },
    { value: state().trajectoriesFailed, attributes: { outcome: "failed" } },
  ]);
  meter.observe(handedBack, () => state().batchesHandedBack);
  meter.observe(parked, () => state().batchesParked);
  meter.observe(inHand, () => state().inHand.length);
  meter.observe(calls, () =>
    activity().flatMap(({ name: scorer, calls: made, failedCalls: failed = 0 }) =>
      made === undefined
        ? []
        : [
            { value: made - failed, attributes: { scorer, outcome: "answered" } },
            { value: failed, attributes: { scorer, outcome: "failed" } },
          ],
    ),
  );
  meter.observe(cache, () =>
    activity().flatMap(({ name: scorer, cacheHits, cacheMisses = 0 }) =>
      cacheHits === undefined
        ? []
        : [
            { value: cacheHits, attributes: { scorer, outcome: "hit" } },
            { value: cacheMisses, attributes: { scorer, outcome: "miss" } },
          ],
    ),
  );
  meter.observe(circuit, () =>
    activity().flatMap(({ name: scorer, circuit: now }) =>
      now === undefined ? [] : [{ value: now === "closed" ? 0 : 1, attributes: { scorer } }],
    ),
  );
}
