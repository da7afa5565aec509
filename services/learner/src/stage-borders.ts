/**
 * Where one stage ends and the next begins: what it made is kept under its digest with what it came from, gates are asked,
 * and the next one gets its starting weights, its reference and its critic.
 */
import type { StageArtifact } from "@oarlock/checkpoint";
import { digestOf, modelsOf, referenceBy, rolloutsOf, stageInputs } from "@oarlock/runfile";
import type { PolicyVersion, StreamCursor } from "@oarlock/run";
import { stageAt } from "./context.ts";
import { announceScorers } from "./announce-scorers.ts";
import { publishCritic } from "./critic-versions.ts";
import { beginGuards } from "./guards.ts";
import type { LearnerParts, LearnerProgress } from "./context.ts";
import { keepStage } from "./kept-stages.ts";
import { rolloutPlanOf, stepsDone, streamPlanOf } from "./plan.ts";
import { checkGate } from "./reward-model-stage.ts";
import { policyStart, scorerStart } from "./stage-start.ts";

/** A stage starts from its policy, which is also its reference; moments start anew. One that is kept begins at its end. */
export async function beginStage(
  parts: LearnerParts,
  progress: LearnerProgress,
  index: number,
): Promise<LearnerProgress> {
  const stage = stageAt(parts.run, index);
  const steps = parts.program.stages[index]?.steps ?? 0;
  await announceScorers(parts, progress, stage);
  const kept = await keepStage(parts, progress, index);
  if (kept !== undefined) {
    announceStage(parts, kept, []);
    return kept;
  }
  parts.onEvent({ type: "stage", stage: stage.name, index, steps });
  await parts.trainer.resetOptimizer();
  const started = await restart(parts, progress, index);
  const { current } = started;
  const rollouts = rolloutsOf(stage);
  const reference = referenceBy(stage);
  if (reference === "learner") await parts.trainer.captureReference();
  const scorer = await scorerStart(parts, started, index);
  if (scorer !== undefined) await parts.scorer.open(scorer.weights, scorer.head);
  const begun = {
    ...started,
    basePolicy: current.policy.number,
    klCoefficient: rollouts?.kl.coefficient,
    rewardMoments: undefined,
    guards: beginGuards(stage, current),
  };
  if (rollouts !== undefined) await parts.publication.publish(current, { stage: index, step: 0 });
  parts.publication.keepReference(reference === "actors" ? { stage: index, served: current } : undefined);
  const position = { ...begun.position, stage: index, step: 0 };
  await (
    await publishCritic(parts, { position, current })
  ).visible;
  announceStage(parts, begun, rollouts === undefined ? [] : [current.policy]);
  return begun;
}

/** Another policy than the one that stands is a version of its own. */
async function restart(
  parts: LearnerParts,
  progress: LearnerProgress,
  index: number,
): Promise<LearnerProgress> {
  const weights = await policyStart(parts, progress, index);
  if (weights === undefined) return progress;
  const { length } = weights;
  const zeros = (): Float32Array => new Float32Array(length);
  await parts.trainer.restore({
    weights,
    firstMoments: zeros(),
    secondMoments: zeros(),
    optimizerStep: 0,
  });
  const snapshot = await parts.trainer.policy();
  const number = progress.position.policy + 1;
  return {
    ...progress,
    position: { ...progress.position, policy: number },
    current: { policy: { number, digest: snapshot.digest }, weights: snapshot.weights },
  };
}

/** Tells the conductor what to issue, in streaming mode from where a checkpoint left it: of a stage that has ended, nothing more. */
export function announceStage(
  parts: LearnerParts,
  progress: LearnerProgress,
  published: readonly PolicyVersion[],
  cursor?: StreamCursor,
): void {
  const { stage, ended = false } = progress.position;
  if (stage >= parts.run.spec.stages.length) return;
  const { basePolicy } = progress;
  const planned = stageAt(parts.run, stage);
  const plan = ended ? undefined : rolloutPlanOf(parts.run, planned, basePolicy);
  const streamed = ended ? undefined : streamPlanOf(parts.run, planned, basePolicy);
  const stream = streamed && { plan: streamed, ...(cursor === undefined ? {} : { cursor }) };
  const trained = stepsDone(planned, progress.position);
  const began = { type: "stage-began", stage, plan, trained, published } as const;
  parts.rollouts.dispatch(stream === undefined ? began : { ...began, stream });
}

/** Keeps what the stage made. Throws `GATE_NOT_PASSED` where it may not be built upon: the next stage does not start. */
export async function finishStage(
  parts: LearnerParts,
  progress: LearnerProgress,
  index: number,
): Promise<LearnerProgress> {
  const stage = stageAt(parts.run, index);
  const isReward = stage.type === "reward-model";
  const made = isReward
    ? await parts.scorer.get().policy()
    : { weights: progress.current.weights, digest: progress.current.policy.digest };
  const artifact: StageArtifact = {
    stage: stage.name,
    kind: isReward ? "reward-model" : "policy",
    digest: made.digest,
    elements: made.weights.length,
    parents: parentsOf(parts, progress, index),
    ...inputsOf(parts, index),
  };
  await parts.models.save(artifact, made.weights, parts.signal);
  // What does not pass is kept all the same: a lower gate may be asked for, over the same result.
  if (isReward) checkGate(stage, progress.evaluations);
  await parts.scorer.close();
  const results = { ...progress.results, [stage.name]: artifact };
  return { ...progress, results, klCoefficient: undefined, guards: undefined };
}

function inputsOf({ run }: LearnerParts, index: number): Pick<StageArtifact, "inputs"> {
  const inputs = stageInputs(run)[index]?.digest;
  return inputs === undefined ? {} : { inputs };
}

/** Digests of everything that a stage was made from: models, data, and what was configured. */
function parentsOf({ run, versions }: LearnerParts, { results }: LearnerProgress, index: number): string[] {
  const stage = stageAt(run, index);
  const data = run.inputs.data.filter(({ path }) => path.startsWith(`stages.${index}.`));
  const replaced = versions.replacements.flatMap(({ stage: from, model }) =>
    from > index ? [] : (model ?? []),
  );
  const named = new Set((rolloutsOf(stage)?.rewards ?? []).flatMap(modelsOf).map(({ from }) => from));
  const read = (run.inputs.scorers ?? []).filter(({ from }) => named.has(from));
  const models = [...Object.values(results), ...replaced, ...read].map(({ digest }) => digest);
  return [run.inputs.model.digest, ...models, ...data.map(({ digest }) => digest), digestOf(stage)].filter(
    (digest) => digest !== "",
  );
}
