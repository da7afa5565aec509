/** What the learner measures, with its units: pace, pipeline, position, and the newest metrics of training by verl's names. */
import { groupsDropped, groupsOut, idleMs, rolloutGroupsInFlight } from "@oarlock/run";
import type { ConductorState } from "@oarlock/run";
import { SECONDS_BOUNDARIES } from "@oarlock/runtime";
import type { Instrument, Meter, Recorder } from "@oarlock/runtime";
import type { LearnerState } from "./state.ts";

type InstrumentName =
  | "step"
  | "checkpoint"
  | "queueWait"
  | "staleness"
  | "training"
  | "position"
  | "policy"
  | "lastCheckpoint"
  | "groups"
  | "inFlight"
  | "out"
  | "failedSamples"
  | "dropped"
  | "idle";

/** Every instrument of the learner. */
export const LEARNER_INSTRUMENTS: Readonly<Record<InstrumentName, Instrument>> = {
  step: {
    name: "oarlock.learner.step.duration",
    kind: "histogram",
    unit: "s",
    description: 'Of a training step by phase; phase "step" is the whole, "gen" the wait for its batch',
    attributes: ["phase"],
    boundaries: SECONDS_BOUNDARIES,
  },
  checkpoint: {
    name: "oarlock.learner.checkpoint.duration",
    kind: "histogram",
    unit: "s",
    description: "Of writing a checkpoint until it is durable",
    boundaries: SECONDS_BOUNDARIES,
  },
  queueWait: {
    name: "oarlock.learner.queue.wait",
    kind: "histogram",
    unit: "s",
    description: "Between the sending of scored samples and their arrival at the learner",
    boundaries: SECONDS_BOUNDARIES,
  },
  staleness: {
    name: "oarlock.learner.policy.staleness",
    kind: "histogram",
    unit: "{version}",
    description: "Versions between the policy that made a group and the one that trains on it",
    boundaries: [0, 1, 2, 3, 4, 8, 16],
  },
  training: {
    name: "oarlock.training.metric",
    kind: "gauge",
    unit: "",
    description: "Newest metrics of training, by verl's names; units are those of the names",
    attributes: ["metric"],
  },
  position: {
    name: "oarlock.learner.step",
    kind: "gauge",
    unit: "{step}",
    description: "Steps of the present stage that are done",
    attributes: ["stage"],
  },
  policy: {
    name: "oarlock.learner.policy.version",
    kind: "gauge",
    unit: "{version}",
    description: "Newest policy version",
  },
  lastCheckpoint: {
    name: "oarlock.learner.checkpoint.last",
    kind: "gauge",
    unit: "{step}",
    description: "Step of the run that the last checkpoint holds",
  },
  groups: {
    name: "oarlock.learner.groups",
    kind: "counter",
    unit: "{group}",
    description: "Groups issued, trained on, used by evaluations, and dropped (T1)",
    attributes: ["outcome"],
  },
  inFlight: {
    name: "oarlock.learner.groups.in_flight",
    kind: "gauge",
    unit: "{group}",
    description: "Rollout groups issued and not yet trained on (Q1)",
  },
  out: {
    name: "oarlock.learner.groups.out",
    kind: "gauge",
    unit: "{group}",
    description: "Groups that are with actors or reward workers",
  },
  failedSamples: {
    name: "oarlock.learner.samples.failed",
    kind: "counter",
    unit: "{sample}",
    description: "Samples admitted as failed (S1)",
  },
  dropped: {
    name: "oarlock.learner.messages.dropped",
    kind: "counter",
    unit: "{message}",
    description: "Scored messages without effect, by reason",
    attributes: ["reason"],
  },
  idle: {
    name: "oarlock.learner.idle",
    kind: "gauge",
    unit: "s",
    description: "Since anything moved in the pipeline",
  },
};

/** Where the learner's actions put what they measure. */
export interface LearnerRecorders {
  /** Takes the `timing_s/` numbers of a step's metrics. */
  readonly step: (metrics: Readonly<Record<string, number>>) => void;
  readonly checkpoint: Recorder;
  readonly queueWait: Recorder;
  readonly staleness: Recorder;
}

const TIMING = "timing_s/";

/** The recorders of one learner. */
export function learnerRecorders(meter: Meter): LearnerRecorders {
  const { step, checkpoint, queueWait, staleness } = LEARNER_INSTRUMENTS;
  const phases = meter.recorder(step);
  return {
    step(metrics) {
      for (const [name, seconds] of Object.entries(metrics)) {
        if (name.startsWith(TIMING)) phases(seconds, { phase: name.slice(TIMING.length) });
      }
    },
    checkpoint: meter.recorder(checkpoint),
    queueWait: meter.recorder(queueWait),
    staleness: meter.recorder(staleness),
  };
}

export interface LearnerSources {
  readonly learner: () => LearnerState;
  readonly conductor: () => ConductorState;
  readonly stageName: (index: number) => string;
  readonly nowMs: () => number;
}

/** What is read at every collection. */
export function observeLearner(meter: Meter, sources: LearnerSources): void {
  const { learner, conductor, stageName, nowMs } = sources;
  const of = LEARNER_INSTRUMENTS;
  meter.observe(of.training, () =>
    Object.entries(learner().metrics).map(([metric, value]) => ({ value, attributes: { metric } })),
  );
  meter.observe(of.position, () => {
    const { stage, step } = learner().position;
    return [{ value: step, attributes: { stage: stageName(stage) } }];
  });
  meter.observe(of.policy, () => learner().policy.number);
  meter.observe(of.lastCheckpoint, () => learner().lastCheckpointStep);
  meter.observe(of.groups, () => {
    const { ledger } = conductor();
    const { groupsIssued, groupsTrained, groupsEvaluated } = ledger;
    return [
      { value: groupsIssued, attributes: { outcome: "issued" } },
      { value: groupsTrained, attributes: { outcome: "trained" } },
      { value: groupsEvaluated, attributes: { outcome: "evaluated" } },
      { value: groupsDropped(ledger), attributes: { outcome: "dropped" } },
    ];
  });
  meter.observe(of.inFlight, () => rolloutGroupsInFlight(conductor()));
  meter.observe(of.out, () => groupsOut(conductor()));
  meter.observe(of.failedSamples, () => conductor().ledger.samplesFailed);
  meter.observe(of.dropped, () =>
    Object.entries(conductor().ledger.messagesDropped).map(([reason, value]) => ({
      value,
      attributes: { reason },
    })),
  );
  meter.observe(of.idle, () => idleMs(conductor(), nowMs()) / 1000);
}
