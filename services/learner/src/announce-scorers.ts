/** The reward models that the present stage scores with, put where the scorers of this incarnation find them. */
import type { StageArtifact } from "@oarlock/checkpoint";
import { modelsOf, rolloutsOf } from "@oarlock/runfile";
import type { ResolvedStage } from "@oarlock/runfile";
import type { LearnerParts, LearnerProgress } from "./context.ts";
import { pendingAt, replacedAt } from "./replacements.ts";
import { trainedModel } from "./scorer-versions.ts";

type Place = Pick<LearnerProgress, "results" | "position">;

/** Announces what the stage's work from the position on needs, and withdraws the rest. */
export async function announceScorers(
  parts: LearnerParts,
  progress: Place,
  stage: ResolvedStage,
): Promise<void> {
  const { models, signal } = parts;
  const used = new Set((rolloutsOf(stage)?.rewards ?? []).flatMap(modelsOf).map(({ from }) => from));
  for (const from of used) {
    const loaded = versionsFrom(parts, progress, from).map(async ({ number, artifact }) => {
      const weights = await models.load(artifact, signal);
      return { number, digest: artifact.digest, weights };
    });
    await models.announce(from, await Promise.all(loaded), signal);
  }
}

interface NumberedModel {
  readonly number: number;
  readonly artifact: StageArtifact;
}

/** The version in use, and the one that will take over. A number is a place among all, the same in every incarnation. */
function versionsFrom(
  { run, versions: { replacements } }: Pick<LearnerParts, "run" | "versions">,
  { results, position }: Place,
  from: string,
): readonly NumberedModel[] {
  const trained = trainedModel(run, results, from);
  const replaced = replacements.filter(({ target }) => target === from);
  const numbered = (artifact: StageArtifact | undefined, at: number): NumberedModel[] =>
    artifact === undefined ? [] : [{ number: at + 1, artifact }];
  const current = replacedAt(replacements, from, position);
  const pending = pendingAt(replacements, from, position);
  return [
    ...(current === undefined
      ? numbered(trained, 0)
      : numbered(current.model, 1 + replaced.indexOf(current))),
    ...(pending === undefined ? [] : numbered(pending.model, 1 + replaced.indexOf(pending))),
  ];
}
