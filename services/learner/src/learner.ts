/**
 * The learner: does what the stage machine says next, until the run is done or told to stop. It is the only service with
 * state; everything it needs to continue is in its checkpoints (T3).
 *
 * Wiring is in `main.ts`; decisions are in `@oarlock/run`; each action is a file of its own.
 */
import type { PolicyStore, RunCheckpoints } from "@oarlock/checkpoint";
import type { CheckpointInfo } from "@oarlock/checkpoint";
import type { Consumer, Stream } from "@oarlock/bus";
import { causeChain, isOarlockError, OarlockError } from "@oarlock/errors";
import { START, advance, groupsInFlightBound, isPolicyServed, nextAction } from "@oarlock/run";
import type { Action, PolicyVersion } from "@oarlock/run";
import { valuesBy } from "@oarlock/runfile";
import type { ResolvedRun } from "@oarlock/runfile";
import { isSampled, traced } from "@oarlock/runtime";
import type { Clock, Log, Tracer } from "@oarlock/runtime";
import { policyAttributes } from "@oarlock/telemetry";
import type { Destination } from "@oarlock/telemetry";
import type { Trainer } from "@oarlock/training";
import { announceScorers } from "./announce-scorers.ts";
import { readLearnerCheckpoint } from "./checkpoint-state.ts";
import type { LearnerCheckpoint } from "./checkpoint-state.ts";
import { secondsOf, stageAt } from "./context.ts";
import { publishCritic } from "./critic-versions.ts";
import type { LearnerParts, LearnerProgress } from "./context.ts";
import { evaluatePolicy } from "./evaluate-policy.ts";
import { evaluateRewardModel, verdictsOf } from "./reward-model-stage.ts";
import { createControl } from "./control.ts";
import type { Control } from "./control.ts";
import { createFeed } from "./feed.ts";
import type { MetricsFeed } from "./feed.ts";
import { createGroupTraces } from "./group-traces.ts";
import type { LearnerRecorders } from "./instruments.ts";
import type { KeptStages } from "./kept-stages.ts";
import { programOf } from "./plan.ts";
import type { EvaluationRecord, LearnerEvent, ModelPorts, RunData, RunJournal } from "./ports.ts";
import type { ScoredExpectation } from "./messages.ts";
import { createPublication } from "./publication.ts";
import type { Publication } from "./publication.ts";
import { createRollouts } from "./rollouts.ts";
import type { Rollouts } from "./rollouts.ts";
import { restoreCheckpoint, saveCheckpoint } from "./save.ts";
import { replaceScorer } from "./replace-scorer.ts";
import type { ScorerVersions } from "./scorer-versions.ts";
import { createScoreTrainer } from "./score-trainer.ts";
import type { StallLimits } from "./stalling-waits.ts";
import { announceStage, beginStage, finishStage } from "./stage-borders.ts";
import { trainStep } from "./train-step.ts";
import { createDescriber } from "./work-items.ts";

export interface LearnerOptions {
  readonly run: ResolvedRun;
  readonly uid: string;
  readonly trainer: Trainer;
  readonly models: ModelPorts;
  readonly versions: ScorerVersions;
  readonly data: RunData;
  readonly policies: PolicyStore;
  /** Of critics, where actors compute values. */
  readonly criticStore?: PolicyStore | undefined;
  readonly checkpoints: RunCheckpoints;
  readonly work: Stream;
  readonly workSubject: string;
  /** Where actors put what they have generated. */
  readonly generated: Pick<Stream, "publish">;
  readonly generatedSubject: string;
  readonly scored: Consumer;
  readonly journal: RunJournal;
  /** Default: every stage runs. */
  readonly kept?: KeptStages;
  readonly onEvent?: (event: LearnerEvent) => void;
  readonly stall?: Partial<StallLimits>;
  /** Where groups are held up as far as the bus shows it, or "". */
  readonly heldUp: () => string;
  readonly telemetry: LearnerTelemetry;
  readonly clock: Clock;
  readonly log: Log;
}

/** What the learner says of its work. */
export interface LearnerTelemetry {
  readonly tracer: Tracer;
  readonly recorders: LearnerRecorders;
  readonly work: Destination;
  readonly scored: Destination;
}

/** How a run ended. */
export interface LearnerOutcome {
  readonly status: "completed" | "stopped";
  readonly policy: PolicyVersion;
  /** The policy's weights. */
  readonly weights: Float32Array;
  /** Training steps done, over all stages. */
  readonly steps: number;
  readonly seconds: number;
  readonly metrics: Readonly<Record<string, number>>;
  readonly evaluations: readonly EvaluationRecord[];
  /** Where a stopped run continues from. */
  readonly checkpoint?: string;
}

/** What is asked of it (pause, resume, stop, checkpoint) is taken up between two actions. */
export interface Learner extends Control {
  readonly feed: MetricsFeed;
  readonly rollouts: Rollouts;
  /** Runs to the end, or until stopped; aborting the signal gives up at once, without a checkpoint. */
  run(signal: AbortSignal): Promise<LearnerOutcome>;
}

const DEFAULT_STALL: StallLimits = { warnMs: 30_000, stopMs: 900_000 };

/** A learner that has done nothing. */
export function createLearner(options: LearnerOptions): Learner {
  const { checkpoints } = options;
  const from = continuedFrom(options);
  const control = createControl(from);
  const giveUp = new AbortController();
  const { parts, feed } = partsOf(options, { control, from, signal: giveUp.signal });
  const { rollouts, publication } = parts;

  return {
    ...control,
    feed,
    rollouts,
    async run(signal) {
      const abort = (): void => giveUp.abort(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      if (signal.aborted) abort();
      const stopConsuming = new AbortController();
      const consuming = rollouts.run(AbortSignal.any([giveUp.signal, stopConsuming.signal]));
      // Its failure ends the wait for a batch: that is where it is thrown.
      consuming.catch(() => undefined);
      try {
        const outcome = await proceed(parts, control, await begin(parts, checkpoints));
        await Promise.all([publication.settled(), parts.critics?.settled()]);
        const phase = outcome.status === "completed" ? "succeeded" : "stopped";
        control.dispatch({ type: "ended", phase, message: "" });
        return outcome;
      } catch (reason) {
        const phase = isOarlockError(reason, "STALLED") ? "stalled" : "failed";
        control.dispatch({ type: "ended", phase, message: causeChain(reason).join(": ") });
        throw reason;
      } finally {
        signal.removeEventListener("abort", abort);
        stopConsuming.abort();
        giveUp.abort();
        feed.end();
        const over = new OarlockError("RUN_ENDED", "the run is over");
        for (const { reject } of control.takeAsked()) reject(over);
        await consuming.catch(() => undefined);
        parts.groupTraces.abandon();
        await parts.scorer.close();
      }
    },
  };
}

/** What the checkpoint says that this learner goes on from, if there is one. */
function continuedFrom({ checkpoints, uid, run }: LearnerOptions): LearnerCheckpoint | undefined {
  const { resumed } = checkpoints;
  return resumed && readLearnerCheckpoint(resumed.state, { uid, planDigest: run.digest });
}

/** What every action works on. */
function partsOf(
  options: LearnerOptions,
  of: {
    readonly control: Control;
    readonly from: LearnerCheckpoint | undefined;
    readonly signal: AbortSignal;
  },
): { readonly parts: LearnerParts; readonly feed: MetricsFeed } {
  const { control, from, signal } = of;
  const {
    run,
    uid,
    trainer,
    models,
    versions,
    data,
    checkpoints,
    clock,
    log,
    telemetry,
    kept: keptStages,
  } = options;
  const { tracer, recorders } = telemetry;
  const groupTraces = createGroupTraces(telemetry);
  const scorer = createScoreTrainer((weights, head) => models.openScoreTrainer(weights, head));
  const { incarnation } = checkpoints;
  const feed = createFeed();
  const onEvent = (event: LearnerEvent): void => {
    if (event.type === "stalled") log.warn(event.message);
    if (event.type === "rejected") log.error("rejected an update", { ...event });
    options.onEvent?.(event);
  };
  const publication = createPublication(options.policies, { signal, tracer, what: "policy" });
  const critics =
    options.criticStore && createPublication(options.criticStore, { signal, tracer, what: "critic" });
  const companions = companionsOf(run, publication, critics);
  const { describe, isScored } = createDescriber({ run, data, incarnation, versions, models: companions });
  // T1: what the surviving lineage has trained stays on record.
  const kept = from === undefined ? {} : { ledger: from.ledger };
  const rollouts = createRollouts({
    ...options,
    ...kept,
    incarnation,
    fingerprint: run.digest,
    mostGroups: Math.max(1, groupsInFlightBound(run)),
    traces: groupTraces,
    queueWait: recorders.queueWait,
    describe,
    isScored,
    ...companions,
    stall: { ...DEFAULT_STALL, ...options.stall },
    onStalled: (message) => onEvent({ type: "stalled", message }),
  });
  const journal: RunJournal = {
    samples: (records) => options.journal.samples(records),
    sync: () => options.journal.sync(),
    async metrics(record) {
      feed.push(record);
      await options.journal.metrics(record);
    },
  };
  const onCheckpoint = (info: CheckpointInfo): void => {
    control.checkpointed(info);
    onEvent({ type: "checkpoint", globalStep: info.step, path: info.path });
  };
  const program = programOf(run);
  const known = { run, program, uid, data, kept: keptStages ?? new Map() };
  const parts = { ...known, trainer, scorer, models, versions, checkpoints, journal, rollouts };
  const listeners = { publication, critics, onEvent, onCheckpoint, tracer, groupTraces, recorders };
  return { parts: { ...parts, ...listeners, clock, signal }, feed };
}

/** Whose numbers actors send along. */
function companionsOf(
  run: ResolvedRun,
  publication: Publication,
  critics: Publication | undefined,
): Pick<ScoredExpectation, "referenceOf" | "criticOf"> {
  return {
    referenceOf: (stage) => publication.reference(stage)?.policy,
    criticOf: (stage, policy) =>
      valuesBy(run.spec.stages[stage]) === "actors" ? critics?.held(policy)?.policy : undefined,
  };
}

type Act = {
  readonly [Type in Action["type"]]: (
    parts: LearnerParts,
    progress: LearnerProgress,
    action: Extract<Action, { type: Type }>,
  ) => Promise<LearnerProgress>;
};

const act: Act = {
  "begin-stage": (parts, progress, { stage }) => {
    const attributes = {
      "rl.run.uid": parts.uid,
      "rl.stage": stage,
      ...policyAttributes(progress.current.policy),
    };
    return traced(parts.tracer, { name: "begin stage", parent: "none", attributes }, () =>
      beginStage(parts, progress, stage),
    );
  },
  evaluate: (parts, progress, action) =>
    stageAt(parts.run, action.stage).type === "reward-model"
      ? evaluateRewardModel(parts, progress, action)
      : evaluatePolicy(parts, progress, action),
  train: trainStep,
  async checkpoint(parts, progress) {
    const position = { ...progress.position, checkpointedPolicy: progress.position.policy };
    await saveCheckpoint(parts, { ...progress, position });
    return progress;
  },
  "finish-stage": (parts, progress, { stage }) => finishStage(parts, progress, stage),
  done: async (_, progress) => progress,
};

/** Does what the stage machine says next, until the run is done or told to stop. */
async function proceed(
  parts: LearnerParts,
  control: Control,
  start: LearnerProgress,
): Promise<LearnerOutcome> {
  let progress = start;
  control.dispatch({ type: "started" });
  for (;;) {
    parts.signal.throwIfAborted();
    const { position, current } = progress;
    const metrics = { ...verdictsOf(progress.evaluations), ...progress.metrics };
    const action = nextAction(parts.program, position);
    if (action.type === "done") return outcomeOf(parts, progress, "completed");
    // Between two actions: waits while paused, writes what was asked for, stops where it is told to.
    const traceId = isSampled(progress.trace) ? progress.trace.traceId : "";
    control.dispatch({ type: "moved", position, policy: current.policy, metrics, traceId });
    await serveAsked(parts, control, progress);
    if (control.state().phase === "draining") {
      // A run stopped before its first stage began has nothing to continue from but its plan.
      const info = position.begun ? await saveCheckpoint(parts, progress) : undefined;
      return { ...outcomeOf(parts, progress, "stopped"), ...(info && { checkpoint: info.path }) };
    }
    // The function's parameter is the action of its own name: the index ties them, which the checker cannot follow.
    const rule = act[action.type] as (
      parts: LearnerParts,
      progress: LearnerProgress,
      action: Action,
    ) => Promise<LearnerProgress>;
    const after = await rule(parts, progress, action).catch(unlessAbandoned);
    // Told to end while nobody answered: the action has not begun, and another incarnation begins it again.
    if (after === undefined) continue;
    progress = { ...after, position: advance(after.position, action) };
    parts.versions.know(progress.results);
  }
}

/** Writes and answers what was asked for; for as long as the run is paused. */
async function serveAsked(parts: LearnerParts, control: Control, progress: LearnerProgress): Promise<void> {
  for (;;) {
    // From before the look on: what is asked for while the rest is answered wakes this, too.
    const changed = control.changed(parts.signal);
    if (control.state().checkpointWanted) await saveCheckpoint(parts, progress);
    await answerAsked(parts, control, progress);
    if (control.state().phase !== "paused") return;
    await changed;
    parts.signal.throwIfAborted();
  }
}

function unlessAbandoned(reason: unknown): undefined {
  if (!isOarlockError(reason, "STEP_ABANDONED")) throw reason;
}

/** A refusal is the asker's; the run goes on. */
async function answerAsked(parts: LearnerParts, control: Control, progress: LearnerProgress): Promise<void> {
  for (const { request, resolve, reject } of control.takeAsked()) {
    await replaceScorer(parts, progress, request).then(resolve, (reason: unknown) => {
      reject(reason);
      if (isOarlockError(reason, "CHECKPOINT_FENCED")) throw reason;
    });
  }
}

/** Where the run stands at first: the initial policy, or the checkpoint's. */
async function begin(parts: LearnerParts, checkpoints: RunCheckpoints): Promise<LearnerProgress> {
  const startedMs = parts.clock.monotonicMs();
  if (checkpoints.resumed === undefined) {
    const { weights, digest } = await parts.trainer.policy();
    const current = { policy: { number: 0, digest }, weights };
    return {
      position: START,
      current,
      basePolicy: 0,
      evaluations: [],
      results: {},
      klCoefficient: undefined,
      metrics: {},
      earlierSeconds: 0,
      startedMs,
    };
  }
  const { state, current, lagging, guards, reference, critics } = await restoreCheckpoint(
    parts,
    checkpoints.resumed,
  );
  const { position, basePolicy, evaluations, seconds, results = {}, klCoefficient, rewardMoments } = state;
  const progress = {
    position,
    current,
    basePolicy,
    evaluations,
    results,
    klCoefficient,
    rewardMoments,
    guards,
    metrics: {},
    earlierSeconds: seconds,
    startedMs,
  };
  const at = { stage: position.stage, step: position.step };
  parts.versions.know(results);
  if (reference !== undefined) {
    await parts.publication.publish(reference, { stage: position.stage, step: 0 });
    parts.publication.keepReference({ stage: position.stage, served: reference });
  }
  for (const served of lagging) await parts.publication.publish(served, at);
  for (const served of critics) await parts.critics?.publish(served, at);
  if (position.begun) await (await publishCritic(parts, progress)).visible;
  const isServed = isPolicyServed(parts.program, position);
  if (isServed) await parts.publication.publish(current, at);
  if (position.begun) {
    await announceScorers(parts, progress, stageAt(parts.run, position.stage));
    const published = isServed ? [...lagging, current].map(({ policy }) => policy) : [];
    announceStage(parts, progress, published, state.stream);
  }
  return progress;
}

function outcomeOf(
  parts: LearnerParts,
  progress: LearnerProgress,
  status: LearnerOutcome["status"],
): LearnerOutcome {
  const { current, metrics, evaluations, position } = progress;
  return {
    status,
    policy: current.policy,
    weights: current.weights,
    steps: position.policy,
    seconds: secondsOf(parts, progress),
    metrics,
    evaluations,
  };
}
