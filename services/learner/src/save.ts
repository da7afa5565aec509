/**
 * Saving and restoring the learner (T3): one atomic checkpoint holds weights, moments, the reference policy, the policy
 * versions that lag needs, the position and the ledger. Keys of randomness and the data cursor follow from the position.
 */
import type { CheckpointInfo, DeferredArray, LoadedCheckpoint } from "@oarlock/checkpoint";
import { OarlockError } from "@oarlock/errors";
import { groupsDropped, oldestPolicyNeeded, streamCursor } from "@oarlock/run";
import { sharedMemory, traced } from "@oarlock/runtime";
import { policyAttributes } from "@oarlock/telemetry";
import type { StateArray, StateFacts, Trainer } from "@oarlock/training";
import { ARRAYS, criticArray, policyArray, readLearnerCheckpoint } from "./checkpoint-state.ts";
import type { LearnerCheckpoint } from "./checkpoint-state.ts";
import { secondsOf, stageAt } from "./context.ts";
import type { LearnerParts, LearnerProgress } from "./context.ts";
import { rolloutPlanOf } from "./plan.ts";
import type { GuardProgress } from "./guards.ts";
import { hasTrunkCritic } from "./stage-start.ts";
import type { ServedPolicy } from "./publication.ts";

/** Versions older than the current one that untrained work still needs, oldest first. */
function laggingPolicies(parts: LearnerParts, progress: LearnerProgress): readonly ServedPolicy[] {
  const { position, basePolicy, current } = progress;
  if (position.stage >= parts.run.spec.stages.length) return [];
  const plan = rolloutPlanOf(parts.run, stageAt(parts.run, position.stage), basePolicy);
  if (plan === undefined || position.ended === true || position.step >= plan.steps) return [];
  const oldest = oldestPolicyNeeded(plan, position.step);
  const recent = parts.publication.recent(plan.lag + 1);
  return recent.filter(({ policy }) => policy.number >= oldest && policy.number < current.policy.number);
}

/** Writes a checkpoint of the position; durable when it resolves, and so is the record before it. Part of the trace of the step before it. */
export function saveCheckpoint(parts: LearnerParts, progress: LearnerProgress): Promise<CheckpointInfo> {
  const attributes = policyAttributes(progress.current.policy);
  const parent = progress.trace ?? ("none" as const);
  return traced(parts.tracer, { name: "checkpoint", parent, attributes }, async (span) => {
    const startMs = parts.clock.monotonicMs();
    const info = await write(parts, progress);
    span.set({ "rl.checkpoint.step": info.step, "rl.checkpoint.digest": info.digest });
    parts.recorders.checkpoint((parts.clock.monotonicMs() - startMs) / 1000);
    return info;
  });
}

async function write(parts: LearnerParts, progress: LearnerProgress): Promise<CheckpointInfo> {
  const { trainer, checkpoints, run } = parts;
  const trained = await savedState(trainer);
  const scorer = parts.scorer.isOpen() ? await savedState(parts.scorer.get()) : undefined;
  const lagging = laggingPolicies(parts, progress);
  const critics = lagging.flatMap(({ policy }) => parts.critics?.held(policy.number) ?? []);
  const good = progress.guards?.good;
  const reference = parts.publication.reference(progress.position.stage);
  const state: LearnerCheckpoint = {
    uid: parts.uid,
    incarnation: checkpoints.incarnation,
    planDigest: run.digest,
    position: progress.position,
    policy: progress.current.policy,
    optimizerStep: trained.optimizerStep,
    basePolicy: progress.basePolicy,
    laggingPolicies: lagging.map(({ policy }) => policy),
    ...(critics.length === 0 ? {} : { laggingCritics: critics.map(({ policy }) => policy) }),
    ledger: survivingLedger(parts),
    ...streamOf(parts, progress),
    evaluations: progress.evaluations,
    results: progress.results,
    ...(progress.klCoefficient === undefined ? {} : { klCoefficient: progress.klCoefficient }),
    ...(progress.rewardMoments === undefined ? {} : { rewardMoments: progress.rewardMoments }),
    ...(progress.guards === undefined ? {} : { guards: progress.guards.state }),
    ...(reference === undefined ? {} : { referencePolicy: reference.policy }),
    ...(good === undefined ? {} : { goodPolicy: good.policy }),
    ...(scorer === undefined ? {} : stepsOf(scorer)),
    seconds: secondsOf(parts, progress),
  };
  const older = [
    ...lagging.map(({ policy, weights }) => [policyArray(policy.number), weights] as const),
    ...critics.map(({ policy, weights }) => [criticArray(policy.number), weights] as const),
  ];
  const arrays = {
    [ARRAYS.weights]: trained.array("weights"),
    [ARRAYS.m]: trained.array("firstMoments"),
    [ARRAYS.v]: trained.array("secondMoments"),
    ...referenceArray(trained, reference),
    ...(good === undefined ? {} : { [ARRAYS.good]: good.weights }),
    ...(scorer === undefined
      ? {}
      : {
          [ARRAYS.scorerWeights]: scorer.array("weights"),
          [ARRAYS.scorerM]: scorer.array("firstMoments"),
          [ARRAYS.scorerV]: scorer.array("secondMoments"),
        }),
    ...Object.fromEntries(older),
  };
  await parts.journal.sync();
  const info = await checkpoints.write({ step: progress.position.policy, state, arrays }, parts.signal);
  parts.onCheckpoint(info);
  return info;
}

/** The actors' reference, else the trainer's, if there is one. */
function referenceArray(
  trained: SavedState,
  ofActors: ServedPolicy | undefined,
): Readonly<Record<string, Float32Array | DeferredArray>> {
  if (ofActors !== undefined) return { [ARRAYS.reference]: ofActors.weights };
  return trained.arrays.includes("reference") ? { [ARRAYS.reference]: trained.array("reference") } : {};
}

type SavedState = StateFacts & { readonly array: (name: StateArray) => DeferredArray };

/** A trainer's state, for a checkpoint: nobody trains while one is written, so each array is copied when its turn comes. */
async function savedState(trainer: Pick<Trainer, "stateFacts" | "copyState">): Promise<SavedState> {
  const facts = await trainer.stateFacts();
  const byteLength = facts.elements * Float32Array.BYTES_PER_ELEMENT;
  const buffer = new Float32Array(sharedMemory(byteLength));
  const read = async (name: StateArray): Promise<Float32Array> => {
    await trainer.copyState(name, buffer);
    return buffer;
  };
  return { ...facts, array: (name) => ({ byteLength, read: () => read(name) }) };
}

const stepsOf = ({ optimizerStep, headStep }: StateFacts): Partial<LearnerCheckpoint> => ({
  scorerStep: optimizerStep,
  ...(headStep === undefined ? {} : { scorerHeadStep: headStep }),
});

/** Streaming mode: where the stage's stream stands. */
function streamOf(
  { rollouts }: LearnerParts,
  { position }: LearnerProgress,
): Pick<LearnerCheckpoint, "stream"> {
  const { stream } = rollouts.state();
  return stream === undefined || !position.begun ? {} : { stream: streamCursor(stream) };
}

/** Work in flight is issued again after a resume: in the surviving lineage it was not issued yet (T1). */
function survivingLedger({ rollouts }: LearnerParts): LearnerCheckpoint["ledger"] {
  const { ledger } = rollouts.state();
  const done = ledger.groupsTrained + ledger.groupsEvaluated + groupsDropped(ledger);
  return { ...ledger, groupsIssued: done };
}

/** A checkpoint read back, for the learner. */
export interface RestoredLearner {
  readonly state: LearnerCheckpoint;
  readonly current: ServedPolicy;
  readonly lagging: readonly ServedPolicy[];
  /** What actors compute with; the critics are those of `lagging`. */
  readonly reference: ServedPolicy | undefined;
  readonly critics: readonly ServedPolicy[];
  readonly guards: GuardProgress | undefined;
}

/** Restores the trainer from a verified checkpoint. Throws `CHECKPOINT_MISMATCH` where it is of something else. */
export async function restoreCheckpoint(
  parts: Pick<LearnerParts, "uid" | "run" | "trainer" | "scorer">,
  loaded: LoadedCheckpoint,
): Promise<RestoredLearner> {
  const state = readLearnerCheckpoint(loaded.state, { uid: parts.uid, planDigest: parts.run.digest });
  const weights = arrayOf(loaded, ARRAYS.weights);
  const { optimizerStep, referencePolicy } = state;
  const reference =
    loaded.arrays[ARRAYS.reference] === undefined ? undefined : arrayOf(loaded, ARRAYS.reference);
  await parts.trainer.restore({
    weights,
    firstMoments: arrayOf(loaded, ARRAYS.m),
    secondMoments: arrayOf(loaded, ARRAYS.v),
    optimizerStep,
    ...(reference === undefined || referencePolicy !== undefined ? {} : { reference }),
  });
  if (state.scorerStep !== undefined) await restoreScorer(parts, loaded, state);
  return {
    state,
    current: { policy: state.policy, weights },
    reference: referencePolicy && {
      policy: referencePolicy,
      weights: arrayOf(loaded, ARRAYS.reference),
    },
    guards: restoredGuards(loaded, state),
    critics: (state.laggingCritics ?? []).map((policy) => ({
      policy,
      weights: arrayOf(loaded, criticArray(policy.number)),
    })),
    lagging: state.laggingPolicies.map((policy) => ({
      policy,
      weights: arrayOf(loaded, policyArray(policy.number)),
    })),
  };
}

function restoredGuards(
  loaded: LoadedCheckpoint,
  { guards, goodPolicy }: LearnerCheckpoint,
): GuardProgress | undefined {
  if (guards === undefined) return undefined;
  if (goodPolicy === undefined) return { state: guards };
  return { state: guards, good: { policy: goodPolicy, weights: arrayOf(loaded, ARRAYS.good) } };
}

/** The critic or the reward model of the stage, as it was. */
async function restoreScorer(
  { run, scorer }: Pick<LearnerParts, "run" | "scorer">,
  loaded: LoadedCheckpoint,
  { position, scorerStep: optimizerStep = 0, scorerHeadStep: headStep = 0 }: LearnerCheckpoint,
): Promise<void> {
  const weights = arrayOf(loaded, ARRAYS.scorerWeights);
  const head = hasTrunkCritic(run.spec.stages[position.stage]) ? "both" : "score";
  const trainer = await scorer.open(weights, head);
  const [firstMoments, secondMoments] = [arrayOf(loaded, ARRAYS.scorerM), arrayOf(loaded, ARRAYS.scorerV)];
  await trainer.restore({ weights, firstMoments, secondMoments, optimizerStep, headStep });
}

function arrayOf(loaded: LoadedCheckpoint, name: string): Float32Array {
  const array = loaded.arrays[name];
  if (array instanceof Float32Array) return array;
  throw new OarlockError(
    "CHECKPOINT_MISMATCH",
    `the checkpoint ${loaded.path} holds no float array "${name}"`,
  );
}
