/** The reward models that the present work is scored with, put where the scorers of this incarnation find them. */
import type { StageArtifact } from "@oarlock/checkpoint";
import { OarlockError } from "@oarlock/errors";
import { modelsOf, rolloutsOf } from "@oarlock/runfile";
import type { ResolvedStage } from "@oarlock/runfile";
import type { LearnerParts, LearnerProgress } from "./context.ts";
import type { AnnouncedModel } from "./ports.ts";
import { pendingAt, replacedAt } from "./replacements.ts";
import { trainedModel } from "./scorer-versions.ts";

type Place = Pick<LearnerProgress, "results" | "position">;
type Parts = Pick<LearnerParts, "run" | "versions" | "models" | "signal">;

/** Announces what the stage's work from the position on needs, and evaluations meanwhile, and withdraws the rest. */
export async function announceScorers(parts: Parts, progress: Place, stage: ResolvedStage): Promise<void> {
  const { run, models, signal } = parts;
  const rewards = [...(rolloutsOf(stage)?.rewards ?? []), ...(run.spec.evaluation?.rewards ?? [])];
  for (const from of new Set(rewards.flatMap(modelsOf).map((model) => model.from)))
    await models.announce(from, versionsFrom(parts, progress, from), signal);
}

/** The version in use, and the one that will take over. A number is a place among all, the same in every incarnation. */
function versionsFrom(parts: Parts, { results, position }: Place, from: string): readonly AnnouncedModel[] {
  const { run, versions, models, signal } = parts;
  const { replacements } = versions;
  const replaced = replacements.filter(({ target }) => target === from);
  const numbered = (artifact: StageArtifact | undefined, at: number): AnnouncedModel[] => {
    if (artifact === undefined) return [];
    const weights = (): Promise<Float32Array> => models.load(artifact, signal);
    return [{ number: at + 1, digest: artifact.digest, weights }];
  };
  const current = replacedAt(replacements, from, position);
  const pending = pendingAt(replacements, from, position);
  return [
    ...(current === undefined
      ? [...numbered(trainedModel(run, results, from), 0), ...readFrom(parts, from)]
      : numbered(current.model, 1 + replaced.indexOf(current))),
    ...(pending === undefined ? [] : numbered(pending.model, 1 + replaced.indexOf(pending))),
  ];
}

/** The one that the plan has read, for as long as it is the same. */
function readFrom({ run, models, signal }: Parts, from: string): AnnouncedModel[] {
  const planned = run.inputs.scorers?.find((one) => one.from === from);
  if (planned === undefined) return [];
  const { digest } = planned;
  const weights = async (): Promise<Float32Array> => {
    const read = await models.read({ source: from, of: from }, signal);
    if (read.digest === digest) return read.weights;
    const message = `${from} is not what it was when the run began (${digest} is now ${read.digest}); bring it back`;
    throw new OarlockError("MODEL_CHANGED", message);
  };
  return [{ number: 1, digest, weights }];
}
