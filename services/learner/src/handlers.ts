/** The learner's gRPC API: how the run goes, and the levers on it. Thin, typed by the contract. */
import { durationFromMs, timestampFromMs } from "@oarlock/proto";
import type { LearnerService, MessageInitShape, RunStatusSchema } from "@oarlock/proto";
import { OarlockError } from "@oarlock/errors";
import type { ServiceImpl } from "@oarlock/rpc";
import { groupsOut, rolloutGroupsInFlight, runPhase, serviceStatus } from "@oarlock/run";
import type { CommonFacts } from "@oarlock/workload";
import { batchesInFlight, irreproducibleBecause, rolloutsOf } from "@oarlock/runfile";
import type { ResolvedRun } from "@oarlock/runfile";
import { waitFor } from "@oarlock/runtime";
import type { BusWatch } from "./bus-watch.ts";
import type { Learner } from "./learner.ts";
import { remainingSeconds } from "./metrics.ts";
import { stepsDone, stepsOf } from "./plan.ts";
import { hasEnded } from "./state.ts";

const CHECKPOINT_TIMEOUT_MS = 600_000;
/** A step is finished first. */
const REPLACE_TIMEOUT_MS = 600_000;

export interface HandlerParts {
  readonly learner: Learner;
  readonly run: ResolvedRun;
  readonly uid: string;
  readonly incarnation: number;
  /** Unix time at which this incarnation started. */
  readonly startedAtMs: number;
  /** What lies on the bus. */
  readonly onBus: Pick<BusWatch, "queues" | "parked">;
  /** What the service knows of itself, besides its queues. */
  readonly facts: () => CommonFacts;
}

type RunStatusInit = MessageInitShape<typeof RunStatusSchema>;

/** The handlers of `LearnerService`. */
export function learnerHandlers(parts: HandlerParts): ServiceImpl<typeof LearnerService> {
  const { learner } = parts;
  const stageIndex = (name: string): number =>
    parts.run.spec.stages.findIndex((stage) => stage.name === name);
  return {
    async getRunStatus() {
      const conductor = learner.rollouts.state();
      const open = groupsOut(conductor);
      const service = serviceStatus({
        ...parts.facts(),
        draining: learner.state().phase === "draining",
        queues: [
          { name: "groups in flight", depth: open, capacity: Math.max(open, boundOf(parts.run)) },
          ...parts.onBus.queues(),
        ],
      });
      return { run: runStatus(parts), service };
    },

    async *streamMetrics({ afterSequence }, { signal, draining }) {
      const either = AbortSignal.any([signal, draining]);
      for await (const { sequence, record } of learner.feed.read(Number(afterSequence), either)) {
        yield {
          sequence: BigInt(sequence),
          stage: Math.max(0, stageIndex(record.stage)),
          stageName: record.stage,
          step: record.step,
          policy: { version: record.policyVersion, digest: record.policyDigest },
          time: timestampFromMs(record.timeMs),
          values: { ...record.metrics },
        };
      }
    },

    async pause() {
      learner.dispatch({ type: "pause" });
      return { run: runStatus(parts) };
    },

    async resume() {
      learner.dispatch({ type: "resume" });
      return { run: runStatus(parts) };
    },

    async checkpointNow(_, { signal }) {
      if (hasEnded(learner.state())) {
        throw new OarlockError("RUN_ENDED", "the run is over; its last checkpoint stands");
      }
      const written = learner.nextCheckpoint();
      learner.dispatch({ type: "checkpoint-wanted" });
      const wait = { timeoutMs: CHECKPOINT_TIMEOUT_MS, signal };
      const { incarnation, path, digest } = await waitFor("the learner to write a checkpoint", written, wait);
      const { stage, step } = learner.state().position;
      return { incarnation, stage, step, path, digest };
    },

    async replaceScorer({ scorer, version, model, step }, { signal }) {
      if (hasEnded(learner.state())) throw new OarlockError("RUN_ENDED", "the run is over");
      const replaced = learner.replaceScorer({ scorer, version, model, step });
      const wait = { timeoutMs: REPLACE_TIMEOUT_MS, signal };
      const made = await waitFor(`the learner to give ${scorer} another version`, replaced, wait);
      const stageName = parts.run.spec.stages[made.stage]?.name ?? "";
      return { stageName, step: made.step + 1, version: made.version };
    },

    async stop({ reason }) {
      learner.dispatch({ type: "stop", reason: reason === "" ? "stopped by request" : reason });
      return { run: runStatus(parts) };
    },
  };
}

function boundOf(run: ResolvedRun): number {
  const sizes = run.spec.stages.map((stage) => rolloutsOf(stage)?.promptsPerStep ?? 0);
  return batchesInFlight(run.spec.pipeline) * Math.max(0, ...sizes);
}

function runStatus(parts: HandlerParts): RunStatusInit {
  const { learner, run, uid, incarnation, startedAtMs, onBus } = parts;
  const { phase, message, position, policy, metrics, lastCheckpointStep, traceId } = learner.state();
  const conductor = learner.rollouts.state();
  const stage = run.spec.stages[position.stage];
  const { messagesDropped } = conductor.ledger;
  const dropped = Object.values(messagesDropped).reduce((sum, count) => sum + count, 0);
  const because = irreproducibleBecause(run.spec);
  const remaining = remainingSeconds(run, position, metrics);
  return {
    runUid: uid,
    name: run.name,
    phase: runPhase(phase),
    message: [message === "" && phase === "running" ? learner.rollouts.waits() : message, onBus.parked()]
      .filter((sentence) => sentence !== "")
      .join("; "),
    stage: position.stage,
    stageName: stage?.name ?? "",
    step: stage === undefined ? position.step : stepsDone(stage, position),
    steps: stage === undefined ? 0 : stepsOf(stage),
    policy: { version: policy.number, digest: policy.digest },
    incarnation,
    startedAt: timestampFromMs(startedAtMs),
    ...(remaining === undefined ? {} : { remaining: durationFromMs(Math.round(remaining * 1000)) }),
    metrics: { ...metrics },
    groupsInFlight: rolloutGroupsInFlight(conductor),
    groupsDropped: dropped,
    reproducible: because === undefined,
    irreproducibleReason: because ?? "",
    lastCheckpointStep,
    traceId,
  };
}
