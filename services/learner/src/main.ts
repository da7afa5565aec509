/** Composition root of the learner: opens its streams and its gRPC server, and says how it ends. */
import { subjects } from "@oarlock/bus";
import type { Bus, ParkedMessage, Stream, StreamMark } from "@oarlock/bus";
import type { PolicyStore, RunCheckpoints } from "@oarlock/checkpoint";
import { LearnerService } from "@oarlock/proto";
import { topologyOf } from "@oarlock/run";
import type { DeviceFacts } from "@oarlock/run";
import { rewardsOf } from "@oarlock/runfile";
import type { ResolvedRun } from "@oarlock/runfile";
import { processWaits, silentTelemetry } from "@oarlock/runtime";
import type { Clock, Lifecycle, Log, Telemetry } from "@oarlock/runtime";
import type { Trainer } from "@oarlock/training";
import { serveService } from "@oarlock/workload";
import type { ServiceConfig } from "@oarlock/workload";
import { OWN_READER, watchBus } from "./bus-watch.ts";
import type { Readers } from "./bus-watch.ts";
import { heldUpHere, scoringMayTake } from "./held-up.ts";
import { observeBus } from "./bus-metrics.ts";
import { learnerHandlers } from "./handlers.ts";
import { learnerRecorders, observeLearner } from "./instruments.ts";
import { createLearner } from "./learner.ts";
import type { KeptStages } from "./kept-stages.ts";
import type { Learner } from "./learner.ts";
import type { LearnerEvent, ModelPorts, RunData, RunJournal } from "./ports.ts";
import type { ScorerVersions } from "./scorer-versions.ts";
import type { StallLimits } from "./stalling-waits.ts";

/** What the learner is given: it opens none of these itself, so that one process can share them. */
export interface LearnerServiceParts {
  readonly config: ServiceConfig;
  readonly run: ResolvedRun;
  readonly uid: string;
  readonly bus: Bus;
  readonly runStreams: RunStreams;
  readonly policies: PolicyStore;
  readonly criticStore?: PolicyStore | undefined;
  readonly checkpoints: RunCheckpoints;
  readonly trainer: Trainer;
  readonly models: ModelPorts;
  readonly versions: ScorerVersions;
  readonly data: RunData;
  readonly journal: RunJournal;
  readonly kept?: KeptStages;
  readonly onEvent?: (event: LearnerEvent) => void;
  readonly stall?: Partial<StallLimits>;
  readonly lifecycle: Lifecycle;
  /** What it computes on, where that was probed. */
  readonly device?: DeviceFacts;
  readonly clock: Clock;
  readonly log: Log;
  /** Default: silent. */
  readonly telemetry?: Telemetry;
}

/** The run's streams with what lay in them before the learner's incarnation was claimed: of others, all of it (F1). */
export interface RunStreams {
  readonly work: MarkedStream;
  readonly trajectories: MarkedStream;
}

interface MarkedStream {
  readonly stream: Stream;
  readonly left: StreamMark;
}

/** To be opened before the incarnation is claimed. */
export async function openRunStreams(bus: Bus, run: ResolvedRun, uid: string): Promise<RunStreams> {
  const { streams } = topologyOf(run, subjects(uid));
  const open = async (config: Parameters<Bus["stream"]>[0]): Promise<MarkedStream> => {
    const stream = await bus.stream(config);
    return { stream, left: await stream.mark() };
  };
  return { work: await open(streams.work), trajectories: await open(streams.trajectories) };
}

export interface RunningLearner {
  readonly learner: Learner;
  /** `host:port` of the gRPC server. */
  readonly address: string;
}

/** Starts the learner's server; `learner.run` trains. The lifecycle closes the server last. */
export async function startLearner(parts: LearnerServiceParts): Promise<RunningLearner> {
  const {
    run,
    uid,
    bus,
    runStreams,
    checkpoints,
    lifecycle,
    clock,
    log,
    telemetry = silentTelemetry,
  } = parts;
  const names = subjects(uid);
  const { streams, consumers } = topologyOf(run, names);
  const { work, trajectories } = runStreams;
  const scored = await trajectories.stream.consumer(consumers.learner);
  // F1: what lay there is void, and would only take room and actors' time. What came later may be a successor's.
  await Promise.all([work, trajectories].map(({ stream, left }) => stream.purge(left)));
  const { driver } = bus;
  const capacities = new Map([streams.work, streams.trajectories].map((of) => [of.name, of.maxMessages]));
  const mayTake = scoringMayTake(rewardsOf(run.spec));
  const readers: Readers = new Map([
    [consumers.actors.name, { who: "the actors", what: "pieces of work" }],
    [consumers.rewardWorkers.name, { who: "the reward workers", what: "generated groups", mayTake }],
    [consumers.learner.name, OWN_READER],
  ]);
  const onParked = (message: ParkedMessage): void => learner.rollouts.parked(message);
  const onBus = watchBus({ bus, capacities, readers, onParked, clock, log });
  lifecycle.onEnd("bus watch", () => onBus.stop());
  const learner = createLearner({
    ...parts,
    heldUp: () => onBus.heldUp() || heldUpHere(processWaits.open()),
    work: work.stream,
    workSubject: names.workRollout,
    generated: trajectories.stream,
    generatedSubject: names.trajectoryGenerated,
    scored,
    telemetry: {
      tracer: telemetry.tracer,
      recorders: learnerRecorders(telemetry.meter),
      work: { driver, runUid: uid, subject: names.workRollout, stream: names.workStream },
      scored: {
        driver,
        runUid: uid,
        subject: names.trajectoryScored,
        stream: names.trajectoryStream,
        consumer: consumers.learner.name,
      },
    },
  });
  observeBus(telemetry.meter, bus, uid);
  observeLearner(telemetry.meter, {
    learner: () => learner.state(),
    conductor: () => learner.rollouts.state(),
    stageName: (index) => run.spec.stages[index]?.name ?? "",
    nowMs: () => clock.monotonicMs(),
  });
  const { incarnation } = checkpoints;
  const startedAtMs = clock.nowMs();
  const { address } = await serveService({ ...parts, telemetry }, (to, facts) =>
    to.add(LearnerService, learnerHandlers({ learner, run, uid, incarnation, startedAtMs, onBus, facts })),
  );
  log.info("learner serves", { address, incarnation });
  return { learner, address };
}
