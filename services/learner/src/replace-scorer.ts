/**
 * Giving a scorer another version while the run goes on: from a step on of which no work is out yet, so that every group is
 * judged by the version that it was issued with. Between two actions, since only then it is known what is out.
 */
import { OarlockError } from "@oarlock/errors";
import { issueLimit } from "@oarlock/run";
import { isStageResult, rolloutsOf, scorerNumber, scorersRead, stageResult } from "@oarlock/runfile";
import type { ResolvedReward, ResolvedStage } from "@oarlock/runfile";
import { modelVersion } from "@oarlock/scoring";
import { announceScorers } from "./announce-scorers.ts";
import { stageAt } from "./context.ts";
import type { LearnerParts, LearnerProgress } from "./context.ts";
import { rolloutPlanOf, stepsOf } from "./plan.ts";
import { pendingAt, replacedAt, targetsOf } from "./replacements.ts";
import type { Replacement, WorkPlace } from "./replacements.ts";
import { saveCheckpoint } from "./save.ts";

/** As `ReplaceScorer` asks for it. */
export interface ReplaceRequest {
  /** A reward's name, or `stage/<name>`. */
  readonly scorer: string;
  /** Of a scorer in another process; "" for a model. */
  readonly version: string;
  /** Of a reward model, where its successor is; "" for others. */
  readonly model: string;
  /** From 1; 0: as soon as it can be. */
  readonly step: number;
}

const MAX_VERSION = 128;

/** Durable when it resolves. The same again gives the same and changes nothing. */
export async function replaceScorer(
  parts: LearnerParts,
  progress: LearnerProgress,
  request: ReplaceRequest,
): Promise<Replacement> {
  const { versions, models, signal } = parts;
  const { scorer } = request;
  const target = targetOf(parts, progress, scorer);
  const isModel = isStageResult(target) || scorersRead(parts.run.spec).includes(target);
  checkRequest(request, isModel);
  const read = isModel ? await models.read({ source: request.model, of: target }, signal) : undefined;
  const version = read === undefined ? request.version : modelVersion(read.digest);
  const { position } = progress;
  const pending = pendingAt(versions.replacements, target, position);
  if (pending?.version === version) return pending;
  if (pending !== undefined) {
    throw new OarlockError(
      "SCORER_REPLACE_REFUSED",
      `${scorer} becomes ${pending.version} with step ${pending.step + 1} of ${stageAt(parts.run, pending.stage).name}; accepted: another version when that step is trained`,
    );
  }
  const current = replacedAt(versions.replacements, target, position);
  if (current?.version === version) return current;
  const at = placeOf(parts, progress, { target, request });
  // F1: a superseded learner ends here, before anything is written that its successor would read.
  if (position.begun) await saveCheckpoint(parts, progress);
  const replacement = {
    target,
    ...at,
    version,
    ...(read === undefined ? {} : { model: await keepModel(parts, target, read) }),
  };
  await versions.add(replacement, signal);
  if (position.begun) await announceScorers(parts, progress, stageAt(parts.run, position.stage));
  const stage = stageAt(parts.run, at.stage).name;
  parts.onEvent({ type: "scorer", scorer, version, stage, step: at.step + 1 });
  return replacement;
}

/** What the name stands for. Throws `SCORER_UNKNOWN`, and `SCORER_REPLACE_REFUSED` for what has one version, the plan's. */
function targetOf({ run }: LearnerParts, { position }: LearnerProgress, scorer: string): string {
  const { stages } = run.spec;
  const trains = (stage: ResolvedStage): boolean =>
    stage.type === "reward-model" && stageResult(stage) === scorer;
  if (stages.some(trains) || scorersRead(run.spec).includes(scorer)) return scorer;
  const rewards = stages.slice(position.stage).flatMap((stage) => rolloutsOf(stage)?.rewards ?? []);
  const reward = rewards.find(({ name }) => name === scorer);
  if (reward === undefined) {
    const known = [...new Set(rewards.filter(isReplaceable).map(({ name }) => name))].join(", ");
    throw new OarlockError(
      "SCORER_UNKNOWN",
      `no scorer ${JSON.stringify(scorer.slice(0, 64))} in what is left of the run; accepted: ${known || "none"}`,
    );
  }
  const [target] = targetsOf(reward);
  if (target !== undefined && isReplaceable(reward)) return target;
  throw new OarlockError(
    "SCORER_REPLACE_REFUSED",
    `${scorer} is of type ${reward.type}; accepted: model, http, grpc and judge, and for a member of an ensemble its own name there`,
  );
}

const isReplaceable = ({ type }: ResolvedReward): boolean =>
  ["model", "http", "grpc", "judge"].includes(type);

function checkRequest({ scorer, version, model }: ReplaceRequest, isModel: boolean): void {
  const isGiven = isModel ? model !== "" && version === "" : version !== "" && model === "";
  if (isGiven && version.length <= MAX_VERSION) return;
  const accepted = isModel
    ? "model, the folder of a reward model, and no version: that is its digest"
    : `version, 1 to ${MAX_VERSION} characters, and no model`;
  throw new OarlockError("SCORER_REPLACE_REFUSED", `${scorer}; accepted: ${accepted}`);
}

async function keepModel(
  parts: LearnerParts,
  target: string,
  { weights, digest }: { readonly weights: Float32Array; readonly digest: string },
): Promise<NonNullable<Replacement["model"]>> {
  // No stage has this name: what a stage itself made stays.
  const name = isStageResult(target)
    ? target.slice("stage/".length)
    : `model-${scorerNumber(parts.run.spec, target)}`;
  const stage = `${name}.${digest.slice(0, 12)}`;
  const artifact = {
    stage,
    kind: "reward-model",
    digest,
    elements: weights.length,
    parents: [],
  } as const;
  await parts.models.keep(artifact, weights, parts.signal);
  return artifact;
}

/** The first step, from the wanted one on, of the first stage that uses it and still has one of which no work is out. */
function placeOf(
  parts: LearnerParts,
  progress: LearnerProgress,
  { target, request: { scorer, step } }: { readonly target: string; readonly request: ReplaceRequest },
): WorkPlace {
  const { position } = progress;
  for (const [index, stage] of parts.run.spec.stages.entries()) {
    const uses = (rolloutsOf(stage)?.rewards ?? []).some((reward) => targetsOf(reward).includes(target));
    if (!uses || index < position.stage) continue;
    const [free, steps] = [index === position.stage ? unissued(parts, progress) : 0, stepsOf(stage)];
    if (free >= steps) continue;
    const wanted = step === 0 ? free : step - 1;
    if (wanted >= free && wanted < steps) return { stage: index, step: wanted };
    throw new OarlockError(
      "SCORER_REPLACE_REFUSED",
      `${scorer}: work of step ${step} of ${stage.name} ${wanted < free ? "is out already" : "does not exist"}; accepted: ${free + 1} to ${steps}`,
    );
  }
  throw new OarlockError("SCORER_REPLACE_REFUSED", `${scorer}: all work that it judges is out already`);
}

/** The first step of the present stage of which no work can be out. */
function unissued(parts: LearnerParts, { position, basePolicy }: LearnerProgress): number {
  const stage = stageAt(parts.run, position.stage);
  if (!position.begun) return 0;
  if (position.ended === true) return stepsOf(stage);
  const { stream } = parts.rollouts.state();
  if (stream !== undefined) return Math.ceil(stream.issued / stream.plan.groupsPerStep);
  const plan = rolloutPlanOf(parts.run, stage, basePolicy);
  return plan === undefined ? 0 : issueLimit(plan, position.step);
}
