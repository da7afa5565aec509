/**
 * A run in one process: learner, actors and reward worker over the memory bus, with gRPC on loopback, composed from the
 * same parts as they are apart. Compute is in worker threads (P1); this file wires, and owns the order of endings.
 */
import { randomUUID } from "node:crypto";
import { openActor } from "@oarlock/actor";
import { createMemoryBus } from "@oarlock/bus";
import type { Bus } from "@oarlock/bus";
import { openLearner } from "@oarlock/learner";
import type { LearnerOutcome } from "@oarlock/learner";
import { openReward } from "@oarlock/reward";
import type { ResolvedRun } from "@oarlock/runfile";
import { Lifecycle, silentLog, startLoopDelayMonitor, systemClock } from "@oarlock/runtime";
import type { Clock, Log, Telemetry } from "@oarlock/runtime";
import type { ProcessTelemetry } from "@oarlock/telemetry";
import { openModel, openRunTelemetry, saveFinal } from "@oarlock/workload";
import type { OpenedModel } from "@oarlock/workload";
import type { LocalRun, LocalRunOptions, RunOutcome } from "./types.ts";

const LOOPBACK = { host: "127.0.0.1", port: 0 } as const;
/** What is in hand when a run ends is not needed any more: its batches are trained or will be generated again. */
const GRACE_MS = 2_000;
const LIFECYCLE_GRACE_MS = 30_000;

/** What the services of one local run share. */
interface Shared {
  readonly run: ResolvedRun;
  readonly uid: string;
  readonly model: OpenedModel;
  readonly baseDir: string;
  readonly busFor: (service: string) => Bus;
  readonly lifecycle: Lifecycle;
  readonly telemetry: ProcessTelemetry;
  readonly clock: Clock;
  readonly log: Log;
}

/** Starts a run. Everything that can be refused is refused before it resolves (X1). */
export async function startLocalRun(run: ResolvedRun, options: LocalRunOptions): Promise<LocalRun> {
  const { log = silentLog, uid = randomUUID() } = options;
  const lifecycle = new Lifecycle({ name: "local run", log, graceMs: LIFECYCLE_GRACE_MS });
  try {
    return await start(run, { ...options, uid, log }, lifecycle);
  } catch (reason) {
    await lifecycle.end("it could not start");
    throw reason;
  }
}

type Settled = LocalRunOptions & { readonly uid: string; readonly log: Log };

async function start(run: ResolvedRun, options: Settled, lifecycle: Lifecycle): Promise<LocalRun> {
  const { uid, log, outDir, baseDir, signal, clock = systemClock } = options;
  const { seed } = run.spec;
  const model = await openModel(run.spec.model, {
    baseDir,
    seed,
    ...(signal === undefined ? {} : { signal }),
  });
  // Ends last: the endings of all others are still told.
  const telemetry = lifecycle.use("telemetry", await openTelemetry(run, options));
  const bus = lifecycle.use("bus", createMemoryBus({ clock }));
  const shared: Shared = {
    run,
    uid,
    model,
    baseDir,
    busFor: (service) => options.busFor?.(bus, service) ?? bus,
    lifecycle,
    telemetry,
    clock,
    log,
  };
  const reward = await openReward(serviceParts(shared, "reward", "reward-0"));
  const actors = await Promise.all(
    Array.from({ length: run.spec.compute.actors }, (_, index) =>
      openActor(serviceParts(shared, "actor", `actor-${index}`)),
    ),
  );
  const learner = await openLearner({
    ...serviceParts(shared, "learner", "learner"),
    outDir,
    resume: options.resume ?? false,
    ...(options.onEvent === undefined ? {} : { onEvent: options.onEvent }),
    ...(signal === undefined ? {} : { signal }),
  });
  const monitor = startLoopDelayMonitor();
  const giveUp = new AbortController();
  const drain = (): void => learner.learner.dispatch({ type: "stop", reason: "stopped by signal" });
  signal?.addEventListener("abort", drain, { once: true });
  if (signal?.aborted) drain();
  const served = Promise.all([reward.stopped, ...actors.map(({ stopped }) => stopped)]);
  // A service that fails takes the run with it: without it every batch would wait for ever.
  served.catch((reason: unknown) => giveUp.abort(reason));
  const finish = async (): Promise<RunOutcome> => {
    try {
      const outcome = await learner.learner.run(giveUp.signal);
      const loopDelay = monitor.read();
      const saved =
        outcome.status === "completed" ? await saveFinal(shared.model, outcome.weights, outDir) : {};
      return { ...outcomeOf(outcome), ...saved, loopDelay };
    } finally {
      signal?.removeEventListener("abort", drain);
      monitor.stop();
      await lifecycle.end("the run is over");
    }
  };
  const finished = finish();
  return {
    uid,
    addresses: {
      learner: learner.address,
      actors: actors.map(({ address }) => address),
      reward: reward.address,
      ...(telemetry.metricsUrl === undefined ? {} : { metrics: telemetry.metricsUrl }),
    },
    finished,
    async abandon() {
      giveUp.abort();
      await finished.catch(() => undefined);
    },
  };
}

function openTelemetry(run: ResolvedRun, options: Settled): Promise<ProcessTelemetry> {
  const { uid, log, environment, onEvent } = options;
  return openRunTelemetry(run, {
    uid,
    log,
    ...(environment === undefined ? {} : { environment }),
    onWarning: (message) => onEvent?.({ type: "warning", message }),
  });
}

function serviceParts(
  shared: Shared,
  role: string,
  instance: string,
): Omit<Shared, "busFor" | "telemetry"> & {
  readonly config: { instance: string; host: string; port: number; graceMs: number };
  readonly bus: Bus;
  readonly telemetry: Telemetry;
} {
  const { busFor, ...rest } = shared;
  return {
    ...rest,
    config: { instance, ...LOOPBACK, graceMs: GRACE_MS },
    bus: busFor(instance),
    log: shared.log.child({ instance }),
    telemetry: shared.telemetry.service({ role, instance }),
  };
}

function outcomeOf(outcome: LearnerOutcome): Omit<RunOutcome, "loopDelay"> {
  const { status, steps, seconds, policy, metrics, evaluations, checkpoint } = outcome;
  return {
    status,
    steps,
    seconds,
    policy,
    finalMetrics: metrics,
    evaluations,
    ...(checkpoint === undefined ? {} : { checkpoint }),
  };
}
