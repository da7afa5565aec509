/**
 * The run on the bus: streams and consumers with limits derived from the plan (Q1), the same for every service, since
 * a stream that is opened with other limits is refused. Plain data in the bus's terms; nothing here opens anything.
 */
import { batchesInFlight, longestGenerated, referenceBy, rolloutsOf, valuesBy } from "@oarlock/runfile";
import type { ResolvedRun } from "@oarlock/runfile";

/** What of the bus's names the topology needs: `subjects(uid)` of `@oarlock/bus`. */
export interface TopologyNames {
  readonly workRollout: string;
  readonly trajectoryGenerated: string;
  readonly trajectoryScored: string;
  readonly workStream: string;
  readonly trajectoryStream: string;
}

export interface StreamTopology {
  readonly name: string;
  readonly subjects: readonly string[];
  readonly retention: "work-queue";
  readonly maxMessages: number;
  readonly maxBytes: number;
  readonly oversize: "store";
}

export interface ConsumerTopology {
  readonly name: string;
  readonly filterSubject: string;
  readonly ackWaitMs: number;
  readonly maxAckPending: number;
}

export interface RunTopology {
  readonly streams: { readonly work: StreamTopology; readonly trajectories: StreamTopology };
  readonly consumers: {
    readonly actors: ConsumerTopology;
    readonly rewardWorkers: ConsumerTopology;
    readonly learner: ConsumerTopology;
  };
}

/**
 * Redelivered when neither acknowledged nor said to be in progress for so long: what the death of a worker costs. Services
 * say so three times as often, and no computing keeps them from it (P1); one that is late all the same only has its work
 * done twice.
 */
export const ACK_WAIT_MS = 5_000;

/** Superseded learners may have left as much again as is in flight: room for their messages until they are dropped. */
const ROOM_FACTOR = 4;

/** Bytes of one trajectory: per token an id (≤ 5), a log-probability (4) and a mask byte, and the rest, generously. */
const BYTES_PER_TOKEN = 16;
/** Of a token, each of what actors compute besides: a number and its place. */
const BYTES_PER_SIGNAL = 8;
const BYTES_PER_TRAJECTORY = 16_384;

/** Groups in flight at most, of rollouts and of one evaluation together (Q1). */
export function groupsInFlightBound(run: ResolvedRun): number {
  const rollouts = run.spec.stages.map(
    (stage) => batchesInFlight(run.spec.pipeline) * (rolloutsOf(stage)?.promptsPerStep ?? 0),
  );
  return Math.max(0, ...rollouts) + evaluationWindow(run);
}

/** Evaluation groups in flight at most: enough to keep the slots of every actor busy, twice over. */
export function evaluationWindow(run: ResolvedRun): number {
  if (run.spec.evaluation === undefined) return 0;
  const { slots, actors } = run.spec.compute;
  return Math.max(1, 2 * slots * actors);
}

function samplesPerGroupBound(run: ResolvedRun): number {
  const sizes = run.spec.stages.map((stage) => rolloutsOf(stage)?.groupSize ?? 1);
  return Math.max(1, run.spec.evaluation?.samples ?? 1, ...sizes);
}

/** Streams and consumers of `run` under `names`. */
export function topologyOf(run: ResolvedRun, names: TopologyNames): RunTopology {
  const messages = ROOM_FACTOR * Math.max(1, groupsInFlightBound(run));
  const samples = samplesPerGroupBound(run);
  // What the plan may generate, not what the model could: a server sets the bytes aside when the stream is made.
  const trajectory = BYTES_PER_TRAJECTORY + bytesPerToken(run) * longestGenerated(run.spec);
  const limits = {
    retention: "work-queue",
    // A group of long samples may be larger than a broker's message.
    oversize: "store",
    maxMessages: 2 * messages,
    maxBytes: 2 * messages * samples * trajectory,
  } as const;
  const reader = { ackWaitMs: ACK_WAIT_MS, maxAckPending: messages } as const;
  return {
    streams: {
      work: { name: names.workStream, subjects: [names.workRollout], ...limits },
      trajectories: {
        name: names.trajectoryStream,
        subjects: [names.trajectoryGenerated, names.trajectoryScored],
        ...limits,
      },
    },
    consumers: {
      actors: { name: "actors", filterSubject: names.workRollout, ...reader },
      rewardWorkers: { name: "reward-workers", filterSubject: names.trajectoryGenerated, ...reader },
      learner: { name: "learner", filterSubject: names.trajectoryScored, ...reader },
    },
  };
}

function bytesPerToken({ spec }: ResolvedRun): number {
  const signals = spec.stages.map(
    (stage) => [referenceBy(stage), valuesBy(stage)].filter((by) => by === "actors").length,
  );
  return BYTES_PER_TOKEN + BYTES_PER_SIGNAL * Math.max(...signals);
}
