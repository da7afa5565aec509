/** Composition root of the learner: opens its streams and its gRPC server, and says how it ends. */
import { subjects } from "@oarlock/bus";
import type { Bus } from "@oarlock/bus";
import type { PolicyStore, RunCheckpoints } from "@oarlock/checkpoint";
import { LearnerService } from "@oarlock/proto";
import { RpcServer } from "@oarlock/rpc";
import { topologyOf } from "@oarlock/run";
import type { ResolvedRun } from "@oarlock/runfile";
import { processWaits, startLoopDelayMonitor } from "@oarlock/runtime";
import type { Clock, Lifecycle, Log } from "@oarlock/runtime";
import type { Trainer } from "@oarlock/training";
import type { LearnerConfig } from "./config.ts";
import { learnerHandlers } from "./handlers.ts";
import { createLearner } from "./learner.ts";
import type { Learner } from "./learner.ts";
import type { LearnerEvent, ModelPorts, RunData, RunJournal } from "./ports.ts";
import type { StallLimits } from "./rollouts.ts";

/** What the learner is given: it opens none of these itself, so that one process can share them. */
export interface LearnerServiceParts {
  readonly config: LearnerConfig;
  readonly run: ResolvedRun;
  readonly uid: string;
  readonly bus: Bus;
  readonly policies: PolicyStore;
  readonly checkpoints: RunCheckpoints;
  readonly trainer: Trainer;
  readonly models: ModelPorts;
  readonly data: RunData;
  readonly journal: RunJournal;
  readonly onEvent?: (event: LearnerEvent) => void;
  readonly stall?: Partial<StallLimits>;
  readonly lifecycle: Lifecycle;
  readonly clock: Clock;
  readonly log: Log;
}

export interface RunningLearner {
  readonly learner: Learner;
  /** `host:port` of the gRPC server. */
  readonly address: string;
}

/** Starts the learner's server; `learner.run` trains. The lifecycle closes the server last. */
export async function startLearner(parts: LearnerServiceParts): Promise<RunningLearner> {
  const { config, run, uid, bus, checkpoints, lifecycle, clock, log } = parts;
  const names = subjects(uid);
  const { streams, consumers } = topologyOf(run, names);
  const work = await bus.stream(streams.work);
  const trajectories = await bus.stream(streams.trajectories);
  const scored = await trajectories.consumer(consumers.learner);
  const learner = createLearner({ ...parts, work, workSubject: names.workRollout, scored });
  const startedMs = clock.monotonicMs();
  const monitor = startLoopDelayMonitor();
  const facts = (): ReturnType<Parameters<typeof learnerHandlers>[0]["facts"]> => ({
    instance: config.instance,
    version: run.inputs.engine.oarlock,
    uptimeMs: clock.monotonicMs() - startedMs,
    waits: processWaits.open(),
    loopDelay: monitor.read(),
    fingerprintDigest: run.digest,
  });
  const server = new RpcServer({ host: config.host, port: config.port, log });
  const { incarnation } = checkpoints;
  const startedAtMs = clock.nowMs();
  server.add(LearnerService, learnerHandlers({ learner, run, uid, incarnation, startedAtMs, facts }));
  const address = await server.listen();
  lifecycle.onEnd("loop delay monitor", () => monitor.stop());
  lifecycle.onEnd("gRPC server", () => server.close());
  log.info("learner serves", { instance: config.instance, address, incarnation });
  return { learner, address };
}
