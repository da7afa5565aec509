/**
 * Whose weights a stage's models start from: the policy as it stands, the run's own model, or what an earlier stage made. A
 * policy that becomes a critic or a reward model keeps its trunk and gets a head of zeros.
 */
import { OarlockError } from "@oarlock/errors";
import { scoreWeights, weightsWithHead, withScoreHead } from "@oarlock/nn";
import { blockOf, policyBefore, restartsPolicy, stageResult } from "@oarlock/runfile";
import type { ResolvedStage } from "@oarlock/runfile";
import { stageAt } from "./context.ts";
import type { LearnerParts, LearnerProgress } from "./context.ts";
import type { ScoreHead } from "./ports.ts";

interface StartWeights {
  readonly kind: "policy" | "reward-model";
  readonly weights: Float32Array;
}

async function weightsFrom(
  parts: LearnerParts,
  progress: LearnerProgress,
  { index, from }: { readonly index: number; readonly from: string },
): Promise<StartWeights> {
  const stands =
    !restartsPolicy(parts.run.spec.stages, index) && from === policyBefore(parts.run.spec.stages, index);
  if (stands) return { kind: "policy", weights: progress.current.weights };
  if (from === "model") return { kind: "policy", weights: await parts.models.initialWeights() };
  const artifact = Object.values(progress.results).find(({ stage }) => stageResult({ name: stage }) === from);
  if (artifact === undefined) {
    throw new OarlockError(
      "STAGE_RESULT_MISSING",
      `stage ${index} starts from ${from}, which has no result yet`,
    );
  }
  return { kind: artifact.kind, weights: await parts.models.load(artifact, parts.signal) };
}

/** The policy that stage `index` starts from, where it is not the one that stands. */
export async function policyStart(
  parts: LearnerParts,
  progress: LearnerProgress,
  index: number,
): Promise<Float32Array | undefined> {
  if (!restartsPolicy(parts.run.spec.stages, index)) return undefined;
  const { from } = blockOf(stageAt(parts.run, index)).model;
  return (await weightsFrom(parts, progress, { index, from })).weights;
}

/** The weights that the critic or the reward model of stage `index` starts from; undefined where it has neither. */
export async function scorerStart(
  parts: LearnerParts,
  progress: LearnerProgress,
  index: number,
): Promise<{ readonly head: ScoreHead; readonly weights: Float32Array } | undefined> {
  const stage = stageAt(parts.run, index);
  if (stage.type !== "reward-model" && stage.type !== "ppo") return undefined;
  if (hasTrunkCritic(stage)) {
    const { weights } = progress.current;
    return {
      head: "both",
      weights: weightsWithHead({ config: parts.run.inputs.model.shape, weights }, "both"),
    };
  }
  const from = stage.type === "ppo" ? stage.ppo.critic.from : stage["reward-model"].model.from;
  const start = await startOf(parts, progress, { index, from });
  const { shape } = parts.run.inputs.model;
  const config = start.kind === "policy" ? shape : withScoreHead(shape);
  return { head: "score", weights: scoreWeights({ config, weights: start.weights }) };
}

/** Whether the stage's values come from a head on the policy's trunk. */
export function hasTrunkCritic(stage: ResolvedStage | undefined): boolean {
  return stage?.type === "ppo" && stage.ppo.critic.network === "trunk";
}

/** A critic that starts from its own stage's policy starts from the one that stands by then. */
async function startOf(
  parts: LearnerParts,
  progress: LearnerProgress,
  at: { readonly index: number; readonly from: string },
): Promise<StartWeights> {
  const stage = stageAt(parts.run, at.index);
  const isOwnPolicy = stage.type === "ppo" && at.from === stage.ppo.model.from;
  return isOwnPolicy
    ? { kind: "policy", weights: progress.current.weights }
    : weightsFrom(parts, progress, at);
}
