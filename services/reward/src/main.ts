/** Composition root of a reward worker: opens its consumer and its gRPC server, and says how it ends. */
import { subjects } from "@oarlock/bus";
import type { Bus } from "@oarlock/bus";
import { RewardService } from "@oarlock/proto";
import { topologyOf } from "@oarlock/run";
import type { DeviceFacts } from "@oarlock/run";
import type { ResolvedRun } from "@oarlock/runfile";
import { silentTelemetry } from "@oarlock/runtime";
import type { Clock, Lifecycle, Log, Telemetry } from "@oarlock/runtime";
import { rewardHandlers } from "./handlers.ts";
import { observeReward, rewardRecorders } from "./metrics.ts";
import { createPlanRefusal, serveService } from "@oarlock/workload";
import type { ServiceConfig } from "@oarlock/workload";
import { createReward } from "./reward.ts";
import type { Reward } from "./reward.ts";
import { scorerSets } from "./scoring.ts";
import type { RunScorers, TextDecoder } from "./scoring.ts";

/** What a reward worker is given: it opens none of these itself, so that one process can share them. */
export interface RewardParts {
  readonly config: ServiceConfig;
  readonly run: ResolvedRun;
  readonly uid: string;
  readonly bus: Bus;
  readonly scorers: RunScorers;
  readonly decoder: TextDecoder;
  readonly lifecycle: Lifecycle;
  /** What it computes on, where that was probed. */
  readonly device?: DeviceFacts;
  readonly clock: Clock;
  readonly log: Log;
  /** Default: silent. */
  readonly telemetry?: Telemetry;
}

export interface RunningReward {
  readonly reward: Reward;
  /** `host:port` of the gRPC server. */
  readonly address: string;
  /** Settles when the worker stops pulling: after a drain, or with the failure that stopped it. */
  readonly stopped: Promise<void>;
}

/** Starts a reward worker; the lifecycle drains it first and closes its server last. */
export async function startReward(parts: RewardParts): Promise<RunningReward> {
  const { config, run, uid, bus, lifecycle, clock, log, telemetry = silentTelemetry } = parts;
  const names = subjects(uid);
  const { streams, consumers } = topologyOf(run, names);
  const trajectories = await bus.stream(streams.trajectories);
  const reward = createReward({
    scorers: parts.scorers,
    decoder: parts.decoder,
    generated: await trajectories.consumer(consumers.rewardWorkers),
    scored: trajectories,
    scoredSubject: names.trajectoryScored,
    planDigest: run.digest,
    refuseOtherPlan: createPlanRefusal({
      instance: config.instance,
      planDigest: run.digest,
      stream: trajectories,
      subject: names.trajectoryScored,
      clock,
      log,
    }),
    telemetry: {
      tracer: telemetry.tracer,
      recorders: rewardRecorders(telemetry.meter),
      generated: {
        driver: bus.driver,
        runUid: uid,
        subject: names.trajectoryGenerated,
        stream: names.trajectoryStream,
        consumer: consumers.rewardWorkers.name,
      },
      scored: {
        driver: bus.driver,
        runUid: uid,
        subject: names.trajectoryScored,
        stream: names.trajectoryStream,
      },
    },
    clock,
    log,
  });
  const sets = scorerSets(parts.scorers);
  observeReward(
    telemetry.meter,
    () => reward.state(),
    () => sets.flatMap((set) => set.activity()),
  );
  const { server, address } = await serveService({ ...parts, telemetry }, (to, facts) =>
    to.add(RewardService, rewardHandlers({ reward, facts })),
  );
  const stopping = new AbortController();
  const stopped = reward.run(stopping.signal);
  lifecycle.onEnd("reward worker", async () => {
    server.setServing(false);
    await reward.drain(config.graceMs);
    stopping.abort();
    await stopped;
  });
  log.info("reward worker serves", { address });
  return { reward, address, stopped };
}
