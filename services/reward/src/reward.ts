/**
 * The reward worker: takes generated trajectories, lets the scorers of their stage judge them, publishes them scored.
 *
 * Stateless: a batch is acknowledged once its scored form is stored. A scorer that fails gives `Failed` (S1), which is
 * an answer; a batch is handed back where the bus does not answer, and where it is of another plan, whose scorers these are
 * not (D1b). It does not know what a score is for.
 */
import { WorkLoop, groupMessageId } from "@oarlock/bus";
import type { Consumer, Stream, WorkEvent, WorkHandler } from "@oarlock/bus";
import { OarlockError, isOarlockError } from "@oarlock/errors";
import { TrajectoryBatchSchema, fromBinary, misencodedField, withRewards } from "@oarlock/proto";
import type { NamedReward, Trajectory, TrajectoryBatch } from "@oarlock/proto";
import { endingWith, systemClock, traceOfHeaders, waitFor, withTrace } from "@oarlock/runtime";
import type { Clock, Log, Tracer } from "@oarlock/runtime";
import { deliveryOf, queueSeconds, startProcessing } from "@oarlock/telemetry";
import type { Delivery, Destination } from "@oarlock/telemetry";
import { publishAnswer } from "@oarlock/workload";
import type { RefuseOtherPlan } from "@oarlock/workload";
import type { RewardRecorders } from "./metrics.ts";
import { watchScorers } from "./score-spans.ts";
import { batchAttributes, purposeOf } from "./batch-attributes.ts";
import { scoreTrajectories } from "./scoring.ts";
import type { RunScorers, ScoringParts, ScoringRequest, TextDecoder } from "./scoring.ts";
import { createRewardState, reduceReward, wantsBatch } from "./state.ts";
import type { RewardEvent, RewardState } from "./state.ts";

/** Scorers have their own, shorter deadlines; passing this one hands the batch back (D1c). */
const SCORE_TIMEOUT_MS = 600_000;
const DEFAULT_CAPACITY = 64;
/** Pulls under way: all groups of a run pass through few workers, one round trip each. */
const PULLS = 16;

export interface RewardOptions {
  readonly scorers: RunScorers;
  readonly decoder: TextDecoder;
  readonly generated: Consumer;
  readonly scored: Pick<Stream, "publish">;
  readonly scoredSubject: string;
  /** Of the plan that the scorers are of. */
  readonly planDigest: string;
  readonly refuseOtherPlan: RefuseOtherPlan;
  readonly telemetry: RewardTelemetry;
  /** Batches at the same time. Default 64. */
  readonly capacity?: number;
  readonly clock?: Clock;
  readonly log: Log;
}

/** What the worker says of its work. */
export interface RewardTelemetry {
  readonly tracer: Tracer;
  readonly recorders: RewardRecorders;
  readonly generated: Destination;
  readonly scored: Destination;
}

export interface Reward {
  state(): RewardState;
  readonly scorers: RunScorers;
  /** Scores trajectories of one stage and purpose, in order. */
  score(trajectories: readonly Trajectory[], request: ScoringRequest): Promise<NamedReward[][]>;
  /** Pulls until drained or until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  /** Takes no more batches; resolves when those in hand are published, or handed back after `graceMs`. */
  drain(graceMs: number): Promise<void>;
}

/** A batch, and how it came. */
interface ReadBatch {
  readonly batch: TrajectoryBatch;
  /** The same, encoded. */
  readonly data: Uint8Array;
  readonly delivery: Delivery;
}

/** How a batch came out, in trajectories. */
interface Tally {
  readonly scored: number;
  readonly failed: number;
}

/** A reward worker that has pulled nothing yet. */
export function createReward(options: RewardOptions): Reward {
  let state = createRewardState(options.capacity ?? DEFAULT_CAPACITY);
  const dispatch = (event: RewardEvent): void => void (state = reduceReward(state, event));
  const loop = new WorkLoop({
    consumer: options.generated,
    handler: batchHandler(options),
    hasRoom: (pulling) => wantsBatch(state, pulling),
    pulls: PULLS,
    onEvent: (event) => dispatch(rewardEvent(event)),
    log: options.log,
    ...(options.clock === undefined ? {} : { clock: options.clock }),
  });
  return {
    state: () => state,
    scorers: options.scorers,
    score: (trajectories, request) => scoreTrajectories(scoringParts(options), trajectories, request),
    async run(signal) {
      try {
        await loop.run(signal);
      } finally {
        dispatch({ type: "stopped" });
      }
    },
    async drain(graceMs) {
      dispatch({ type: "drain" });
      await loop.drain(graceMs);
    },
  };
}

function rewardEvent(event: WorkEvent<ReadBatch, Tally>): RewardEvent {
  const { type, id } = event;
  return type === "done" ? { type: "published", id, ...event.result } : { type, id };
}

function scoringParts({ scorers, decoder, telemetry }: RewardOptions): ScoringParts {
  return { scorers, decoder, watch: () => watchScorers(telemetry.tracer, telemetry.recorders) };
}

function batchHandler(options: RewardOptions): WorkHandler<ReadBatch, Tally> {
  const { clock = systemClock, telemetry } = options;
  const { tracer, recorders } = telemetry;
  const place = {
    stream: options.scored,
    subject: options.scoredSubject,
    tracer,
    destination: telemetry.scored,
  };
  const judge = async ({ batch, data }: ReadBatch, id: string, signal: AbortSignal): Promise<Tally> => {
    const rewards = await waitFor(
      `scores of ${id} from the scorers`,
      (s) => scoreTrajectories(scoringParts(options), batch.trajectories, { pins: batch.scorers, signal: s }),
      { timeoutMs: SCORE_TIMEOUT_MS, signal },
    );
    const answer = { id, messageId: `${id}/scored`, data: withRewards(data, rewards) };
    await publishAnswer(place, answer, signal);
    const failed = rewards.filter((row) => row.some(({ verdict }) => verdict.case === "failed")).length;
    return { scored: rewards.length - failed, failed };
  };
  return {
    read(message) {
      const batch = readBatch(message.data);
      const delivery = deliveryOf(message, clock.nowMs());
      const id = batchId(batch) ?? `message ${message.sequence}`;
      return { id, item: { batch, data: message.data, delivery }, trace: traceOfHeaders(batch.trace) };
    },
    async start(item, id, signal) {
      const { batch, delivery } = item;
      if (batch.planDigest !== options.planDigest) await options.refuseOtherPlan(batch, signal);
      const attributes = batchAttributes(batch);
      const parent = traceOfHeaders(batch.trace);
      const span = startProcessing(tracer, {
        destination: telemetry.generated,
        delivery,
        parent,
        attributes,
      });
      recorders.queueWait(queueSeconds(delivery));
      return {
        done: endingWith(
          span,
          withTrace(span.context, () => judge(item, id, signal)),
        ),
      };
    },
    // A function that is not what it is declared to be: whatever it scores, the run would not be what it says (D1).
    isBroken: (reason) => isOarlockError(reason, "REWARD_NOT_DETERMINISTIC"),
    isPoison: (reason) => isOarlockError(reason, "SCORERS_MISSING"),
  };
}

/** S1: what is passed on as it came is what was read. Throws where others may read something else in it. */
function readBatch(data: Uint8Array): TrajectoryBatch {
  const field = misencodedField(TrajectoryBatchSchema, data);
  if (field === undefined) return fromBinary(TrajectoryBatchSchema, data);
  throw new OarlockError("BATCH_MISENCODED", `${field.toString()} is not encoded as its type wants`);
}

/** A batch's identity on the bus; a redelivery of the same samples has the same one. */
function batchId(batch: TrajectoryBatch): string | undefined {
  const { group, incarnation, firstSample, again } = batch;
  return group && groupMessageId(group, incarnation, `${purposeOf(batch)}/${again ? "again" : firstSample}`);
}
