/**
 * A run in one process: learner, actors and reward worker over the memory bus, with gRPC on loopback, composed from the
 * same parts as they will be apart. Compute is in worker threads (P1); this file wires, and owns the order of endings.
 */
import { mkdir } from "node:fs/promises";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { startActor } from "@oarlock/actor";
import type { RunningActor } from "@oarlock/actor";
import { createMemoryBus } from "@oarlock/bus";
import type { Bus } from "@oarlock/bus";
import { openPolicyStore, openRunCheckpoints } from "@oarlock/checkpoint";
import type { PolicyStore } from "@oarlock/checkpoint";
import { createGenerator } from "@oarlock/generation";
import { createModelPorts, startLearner } from "@oarlock/learner";
import type { LearnerOutcome, RunningLearner } from "@oarlock/learner";
import { parameterLayout } from "@oarlock/nn";
import { startReward } from "@oarlock/reward";
import { canonicalJson, rolloutsOf } from "@oarlock/runfile";
import type { ResolvedRun } from "@oarlock/runfile";
import { Lifecycle, sha256Hex, silentLog, startLoopDelayMonitor, systemClock } from "@oarlock/runtime";
import type { Log } from "@oarlock/runtime";
import { createTrainer } from "@oarlock/training";
import { engineOf } from "./engine.ts";
import { saveFinal, saveStageModel } from "./final-model.ts";
import { openJournal } from "./journal.ts";
import { openModel } from "../inputs/model.ts";
import type { OpenedModel } from "../inputs/model.ts";
import { openRunData } from "./run-data.ts";
import { openRunScorers } from "./scorers.ts";
import type { LocalRun, LocalRunOptions, RunOutcome } from "./types.ts";

const LOOPBACK = { host: "127.0.0.1", port: 0 } as const;
/** What is in hand when a run ends is not needed any more: its batches are trained or will be generated again. */
const GRACE_MS = 2_000;
const LIFECYCLE_GRACE_MS = 30_000;
/** Versions that the store holds at a time: those that lag needs, one being published, one being fetched. */
const SPARE_VERSIONS = 4;

/** What the services of one local run share. */
interface Shared {
  readonly run: ResolvedRun;
  readonly uid: string;
  readonly model: OpenedModel;
  readonly busFor: (service: string) => Bus;
  readonly policiesFor: (incarnation: number) => Promise<PolicyStore>;
  readonly lifecycle: Lifecycle;
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
  const { uid, log, outDir, baseDir, signal } = options;
  const { seed } = run.spec;
  const model = await openModel(run.spec.model, {
    baseDir,
    seed,
    ...(signal === undefined ? {} : { signal }),
  });
  const bus = lifecycle.use("bus", createMemoryBus());
  const shared: Shared = {
    run,
    uid,
    model,
    busFor: (service) => options.busFor?.(bus, service) ?? bus,
    policiesFor: (incarnation) => openPolicies(bus, { run, uid, model, incarnation }),
    lifecycle,
    log,
  };
  const { scorers } = lifecycle.use(
    "scorers",
    await openRunScorers(run, { baseDir, bus: shared.busFor("reward-0"), uid, config: model.config }),
  );
  const reward = await startReward({
    ...serviceParts(shared, "reward-0"),
    scorers,
    decoder: { decode: (tokens) => model.tokenizer.decode(tokens, { skipSpecialTokens: true }) },
  });
  const actors = await Promise.all(
    Array.from({ length: run.spec.compute.actors }, (_, index) => openActor(shared, index)),
  );
  const learner = await openLearner(shared, options, outDir, signal);
  const monitor = startLoopDelayMonitor();
  const giveUp = new AbortController();
  const drain = (): void => learner.service.learner.dispatch({ type: "stop", reason: "stopped by signal" });
  signal?.addEventListener("abort", drain, { once: true });
  if (signal?.aborted) drain();
  const served = Promise.all([reward.stopped, ...actors.map(({ stopped }) => stopped)]);
  // A service that fails takes the run with it: without it every batch would wait for ever.
  served.catch((reason: unknown) => giveUp.abort(reason));
  const finish = async (): Promise<RunOutcome> => {
    try {
      const outcome = await learner.service.learner.run(giveUp.signal);
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
      learner: learner.service.address,
      actors: actors.map(({ address }) => address),
      reward: reward.address,
    },
    finished,
    async abandon() {
      giveUp.abort();
      await finished.catch(() => undefined);
    },
  };
}

function serviceParts(
  shared: Shared,
  instance: string,
): {
  readonly config: { instance: string; host: string; port: number; graceMs: number };
  readonly run: ResolvedRun;
  readonly uid: string;
  readonly bus: Bus;
  readonly lifecycle: Lifecycle;
  readonly clock: typeof systemClock;
  readonly log: Log;
} {
  const { run, uid, lifecycle } = shared;
  return {
    config: { instance, ...LOOPBACK, graceMs: GRACE_MS },
    run,
    uid,
    bus: shared.busFor(instance),
    lifecycle,
    clock: systemClock,
    log: shared.log.child({ instance }),
  };
}

function openPolicies(
  bus: Bus,
  of: {
    readonly run: ResolvedRun;
    readonly uid: string;
    readonly model: OpenedModel;
    readonly incarnation: number;
  },
): Promise<PolicyStore> {
  const { run, uid, model, incarnation } = of;
  const versions = run.spec.pipeline.lag + SPARE_VERSIONS;
  const bytes = parameterLayout(model.config).length * Float32Array.BYTES_PER_ELEMENT;
  return openPolicyStore({
    bus,
    uid,
    incarnation,
    configDigest: sha256Hex(canonicalJson(model.config)),
    maxBytes: versions * (bytes + 1024 * 1024),
    fingerprintDigest: run.digest,
  });
}

/** The longest sequence that any work of the plan can make: no memory for longer ones is held. */
function longestSequence(run: ResolvedRun): number {
  const ofStages = run.spec.stages.map((stage) => {
    const rollouts = rolloutsOf(stage);
    return rollouts === undefined ? 0 : rollouts.maxPromptLength + rollouts.sampling.maxNewTokens;
  });
  const { evaluation } = run.spec;
  const evaluated = evaluation === undefined ? 0 : evaluation.maxPromptLength + evaluation.maxNewTokens;
  return Math.min(run.inputs.model.shape.maxPositions, Math.max(2, evaluated, ...ofStages));
}

async function openActor(shared: Shared, index: number): Promise<RunningActor> {
  const { run, model, lifecycle } = shared;
  const { slots, generationWorkers, generationThreads, generationLayout } = run.spec.compute;
  const { threads: _, ...ort } = engineOf(run, generationThreads);
  const generator = await createGenerator({
    config: model.config,
    slots,
    workers: generationWorkers,
    threads: generationThreads,
    layout: generationLayout,
    maxLength: longestSequence(run),
    ort,
  });
  const instance = `actor-${index}`;
  lifecycle.onEnd(`generator of ${instance}`, () => generator.close());
  return startActor({
    ...serviceParts(shared, instance),
    policies: await shared.policiesFor(0),
    generator,
  });
}

async function openLearner(
  shared: Shared,
  options: Settled,
  outDir: string,
  signal: AbortSignal | undefined,
): Promise<{ readonly service: RunningLearner }> {
  const { run, model, lifecycle, log } = shared;
  const data = await openRunData({
    run,
    baseDir: options.baseDir,
    tokenizer: model.tokenizer,
    stopTokens: model.stopTokens,
    ...(signal === undefined ? {} : { signal }),
  });
  const folder = join(outDir, "checkpoints");
  await mkdir(folder, { recursive: true });
  const checkpoints = await openRunCheckpoints({
    folder,
    keep: run.spec.checkpoints.keep,
    resume: options.resume ?? false,
    onSkipped: (path, reason) => log.warn("skipped a checkpoint", { path, reason }),
  });
  const { resumed, incarnation } = checkpoints;
  const cut = resumed === undefined ? undefined : { globalStep: resumed.step };
  const journal = lifecycle.use("journal", await openJournal(outDir, cut));
  const { trainingThreads } = run.spec.compute;
  const trainer = lifecycle.use(
    "trainer",
    await createTrainer({
      config: model.config,
      weights: await model.weights(),
      ort: engineOf(run, trainingThreads),
    }),
  );
  const service = await startLearner({
    ...serviceParts(shared, "learner"),
    policies: await shared.policiesFor(incarnation),
    checkpoints,
    trainer,
    models: createModelPorts({
      ...shared,
      bus: shared.busFor("learner"),
      incarnation,
      outDir,
      ort: engineOf(run, trainingThreads),
      saveModel: (stage, weights) => saveStageModel(model, stage, weights, outDir),
    }),
    data,
    journal,
    ...(options.onEvent === undefined ? {} : { onEvent: options.onEvent }),
  });
  return { service };
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
