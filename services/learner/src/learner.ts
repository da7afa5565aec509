/**
 * The learner: does what the stage machine says next, until the run is done or told to stop. It is the only service with
 * state; everything it needs to continue is in its checkpoints (T3).
 *
 * Wiring is in `main.ts`; decisions are in `@oarlock/run`; each action is a file of its own.
 */
import type { PolicyStore, RunCheckpoints } from "@oarlock/checkpoint";
import type { CheckpointInfo } from "@oarlock/checkpoint";
import type { Consumer, Stream } from "@oarlock/bus";
import { causeChain, isOarlockError } from "@oarlock/errors";
import { START, advance, isPolicyServed, nextAction } from "@oarlock/run";
import type { Action, PolicyVersion } from "@oarlock/run";
import type { ResolvedRun } from "@oarlock/runfile";
import type { Clock, Log } from "@oarlock/runtime";
import type { Trainer } from "@oarlock/training";
import { secondsOf, stageAt } from "./context.ts";
import type { LearnerParts, LearnerProgress } from "./context.ts";
import { evaluatePolicy } from "./evaluate-policy.ts";
import { createFeed } from "./feed.ts";
import type { MetricsFeed } from "./feed.ts";
import { programOf, rolloutPlanOf } from "./plan.ts";
import type { EvaluationRecord, LearnerEvent, RunData, RunJournal } from "./ports.ts";
import { createPublication } from "./publication.ts";
import { createRollouts } from "./rollouts.ts";
import type { Rollouts, StallLimits } from "./rollouts.ts";
import { restoreCheckpoint, saveCheckpoint } from "./save.ts";
import { createLearnerState, reduceLearner } from "./state.ts";
import type { LearnerState, LearnerStateEvent } from "./state.ts";
import { needsReference, trainStep } from "./train-step.ts";
import { createDescriber } from "./work-items.ts";

export interface LearnerOptions {
  readonly run: ResolvedRun;
  readonly uid: string;
  readonly trainer: Trainer;
  readonly data: RunData;
  readonly policies: PolicyStore;
  readonly checkpoints: RunCheckpoints;
  readonly work: Stream;
  readonly workSubject: string;
  readonly scored: Consumer;
  readonly journal: RunJournal;
  readonly onEvent?: (event: LearnerEvent) => void;
  readonly stall?: Partial<StallLimits>;
  readonly clock: Clock;
  readonly log: Log;
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

export interface Learner {
  state(): LearnerState;
  /** Pause, resume, stop, checkpoint: taken up between two actions. */
  dispatch(event: LearnerStateEvent): void;
  readonly feed: MetricsFeed;
  readonly rollouts: Rollouts;
  /** Resolves with the next checkpoint that is written. */
  nextCheckpoint(): Promise<CheckpointInfo>;
  /** Runs to the end, or until stopped; aborting the signal gives up at once, without a checkpoint. */
  run(signal: AbortSignal): Promise<LearnerOutcome>;
}

const DEFAULT_STALL: StallLimits = { warnMs: 30_000, stopMs: 900_000 };

/** A learner that has done nothing. */
export function createLearner(options: LearnerOptions): Learner {
  const { run, uid, clock, log, checkpoints } = options;
  const feed = createFeed();
  const giveUp = new AbortController();
  let state = createLearnerState();
  let watchers: (() => void)[] = [];
  let checkpointWatchers: ((info: CheckpointInfo) => void)[] = [];

  const onEvent = (event: LearnerEvent): void => {
    if (event.type === "stalled") log.warn(event.message);
    if (event.type === "rejected") log.error("rejected an update", { ...event });
    options.onEvent?.(event);
  };
  const describer = createDescriber({ run, data: options.data, incarnation: checkpoints.incarnation });
  const rollouts = createRollouts({
    ...options,
    incarnation: checkpoints.incarnation,
    fingerprint: run.digest,
    describe: describer.describe,
    isScored: describer.isScored,
    stall: { ...DEFAULT_STALL, ...options.stall },
    onStalled: (message) => onEvent({ type: "stalled", message }),
  });
  const parts: LearnerParts = {
    run,
    program: programOf(run),
    uid,
    trainer: options.trainer,
    data: options.data,
    checkpoints,
    journal: {
      samples: (records) => options.journal.samples(records),
      async metrics(record) {
        feed.push(record);
        await options.journal.metrics(record);
      },
    },
    rollouts,
    publication: createPublication(options.policies, giveUp.signal),
    onEvent,
    clock,
    signal: giveUp.signal,
  };

  const dispatch = (event: LearnerStateEvent): void => {
    state = reduceLearner(state, event);
    const woken = watchers;
    watchers = [];
    for (const resolve of woken) resolve();
  };
  const changed = (): Promise<void> => new Promise((resolve) => void watchers.push(resolve));

  const checkpoint = async (progress: LearnerProgress): Promise<CheckpointInfo> => {
    const info = await saveCheckpoint(parts, progress);
    dispatch({ type: "checkpointed", globalStep: info.step });
    const woken = checkpointWatchers;
    checkpointWatchers = [];
    for (const resolve of woken) resolve(info);
    return info;
  };

  type Act = {
    readonly [Type in Action["type"]]: (
      progress: LearnerProgress,
      action: Extract<Action, { type: Type }>,
    ) => Promise<LearnerProgress>;
  };
  const act: Act = {
    "begin-stage": (progress, { stage }) => beginStage(parts, progress, stage),
    evaluate: (progress, action) => evaluatePolicy(parts, progress, action),
    train: (progress, action) => trainStep(parts, progress, action),
    async checkpoint(progress) {
      const saved = {
        ...progress,
        position: { ...progress.position, checkpointedPolicy: progress.position.policy },
      };
      await checkpoint(saved);
      return progress;
    },
    "finish-stage": async (progress) => progress,
    done: async (progress) => progress,
  };

  /** Between two actions: waits while paused, writes what was asked for. True when the run shall stop. */
  const obey = async (progress: LearnerProgress): Promise<boolean> => {
    const { position, current } = progress;
    dispatch({ type: "moved", position, policy: current.policy, metrics: progress.metrics });
    if (state.checkpointWanted) await checkpoint(progress);
    while (state.phase === "paused") await changed();
    return state.phase === "draining";
  };

  const proceed = async (): Promise<LearnerOutcome> => {
    let progress = await begin(parts, checkpoints);
    dispatch({ type: "started" });
    for (;;) {
      parts.signal.throwIfAborted();
      const action = nextAction(parts.program, progress.position);
      if (action.type === "done") return outcomeOf(parts, progress, "completed");
      if (await obey(progress)) {
        // A run stopped before its first stage began has nothing to continue from but its plan.
        const info = progress.position.begun ? await checkpoint(progress) : undefined;
        return { ...outcomeOf(parts, progress, "stopped"), ...(info && { checkpoint: info.path }) };
      }
      // The function's parameter is the action of its own name: the index ties them, which the checker cannot follow.
      const rule = act[action.type] as (p: LearnerProgress, a: Action) => Promise<LearnerProgress>;
      const after = await rule(progress, action);
      progress = { ...after, position: advance(after.position, action) };
    }
  };

  return {
    state: () => state,
    dispatch,
    feed,
    rollouts,
    nextCheckpoint: () => new Promise((resolve) => void checkpointWatchers.push(resolve)),
    async run(signal) {
      const abort = (): void => giveUp.abort(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      if (signal.aborted) abort();
      const stopConsuming = new AbortController();
      const consuming = rollouts.run(AbortSignal.any([giveUp.signal, stopConsuming.signal]));
      try {
        const outcome = await proceed();
        await parts.publication.settled();
        dispatch({
          type: "ended",
          phase: outcome.status === "completed" ? "succeeded" : "stopped",
          message: "",
        });
        return outcome;
      } catch (reason) {
        const phase = isOarlockError(reason, "STALLED") ? "stalled" : "failed";
        dispatch({ type: "ended", phase, message: causeChain(reason).join(": ") });
        throw reason;
      } finally {
        signal.removeEventListener("abort", abort);
        stopConsuming.abort();
        giveUp.abort();
        feed.end();
        // Its failure, if any, has already ended the wait for a batch: it is the reason that was thrown.
        await consuming.catch(() => undefined);
      }
    },
  };
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
      metrics: {},
      earlierSeconds: 0,
      startedMs,
    };
  }
  const { state, current, lagging } = await restoreCheckpoint(parts, checkpoints.resumed);
  const { position, basePolicy, evaluations, seconds } = state;
  const progress = {
    position,
    current,
    basePolicy,
    evaluations,
    metrics: {},
    earlierSeconds: seconds,
    startedMs,
  };
  const at = { stage: position.stage, step: position.step };
  for (const served of lagging) await parts.publication.publish(served, at);
  const isServed = isPolicyServed(parts.program, position);
  if (isServed) await parts.publication.publish(current, at);
  if (position.begun) {
    const published = isServed ? [...lagging, current].map(({ policy }) => policy) : [];
    announceStage(parts, progress, published);
  }
  return progress;
}

/** A stage starts from the current policy, which is also its reference; moments start anew. */
async function beginStage(
  parts: LearnerParts,
  progress: LearnerProgress,
  index: number,
): Promise<LearnerProgress> {
  const stage = stageAt(parts.run, index);
  const { current } = progress;
  const steps = parts.program.stages[index]?.steps ?? 0;
  parts.onEvent({ type: "stage", stage: stage.name, index, steps });
  await parts.trainer.resetOptimizer();
  if (stage.type === "grpo" && needsReference(stage.grpo)) await parts.trainer.captureReference();
  const begun = { ...progress, basePolicy: current.policy.number };
  if (stage.type === "grpo") await parts.publication.publish(current, { stage: index, step: 0 });
  announceStage(parts, begun, stage.type === "grpo" ? [current.policy] : []);
  return begun;
}

function announceStage(
  parts: LearnerParts,
  progress: LearnerProgress,
  published: readonly PolicyVersion[],
): void {
  const { stage, step } = progress.position;
  if (stage >= parts.run.spec.stages.length) return;
  const plan = rolloutPlanOf(parts.run, stageAt(parts.run, stage), progress.basePolicy);
  parts.rollouts.dispatch({ type: "stage-began", stage, plan, trained: step, published });
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
