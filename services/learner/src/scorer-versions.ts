/**
 * Which version of each scorer judges which work: the plan's, or what took its place. Replacements are in a file of the run
 * folder, durable before anybody hears of one, so that every incarnation and every repetition of a step knows the same (D1).
 */
import { join } from "node:path";
import { replaceDurably } from "@oarlock/checkpoint";
import type { StageArtifact } from "@oarlock/checkpoint";
import { OarlockError } from "@oarlock/errors";
import { modelsOf, referencedStage, rolloutsOf } from "@oarlock/runfile";
import type { ResolvedReward, ResolvedRun } from "@oarlock/runfile";
import type { BatchName } from "@oarlock/run";
import { ensembleVersion, modelVersion } from "@oarlock/scoring";
import { readOptional } from "./optional-file.ts";
import { replacedAt, targetsOf } from "./replacements.ts";
import type { Replacement, WorkPlace } from "./replacements.ts";

/** In the run folder. */
export const REPLACEMENTS_FILE = "replacements.json";

type Results = Readonly<Record<string, StageArtifact>>;

export interface ScorerVersions {
  readonly replacements: readonly Replacement[];
  /** Durable when it resolves. */
  add(replacement: Replacement, signal: AbortSignal): Promise<void>;
  /** What finished stages have made: the plan's own reward models. */
  know(results: Results): void;
  /** The version that each scorer of this work must have, by the scorer's name; of code there is one, and no pin. */
  pinsOf(work: BatchName): ReadonlyMap<string, string>;
}

/** Opens those of the run in `folder`. */
export async function openScorerVersions(run: ResolvedRun, folder: string): Promise<ScorerVersions> {
  const path = join(folder, REPLACEMENTS_FILE);
  let replacements = await readReplacements(path);
  let results: Results = {};
  return {
    get replacements() {
      return replacements;
    },
    async add(replacement, signal) {
      const all = [...replacements, replacement];
      const text = `${JSON.stringify({ replacements: all }, undefined, 2)}\n`;
      await replaceDurably(path, new TextEncoder().encode(text), signal);
      replacements = all;
    },
    know: (made) => void (results = made),
    pinsOf({ purpose, stage, step }) {
      const { stages, evaluation } = run.spec;
      const rewards = purpose === "evaluation" ? evaluation?.rewards : rolloutsOf(stages[stage])?.rewards;
      const pins = (rewards ?? []).flatMap((reward) => {
        const version = versionOf(reward, { run, results, replacements, at: { stage, step } });
        return version === undefined ? [] : [[reward.name, version] as const];
      });
      return new Map(pins);
    },
  };
}

interface Known {
  readonly run: ResolvedRun;
  readonly results: Results;
  readonly replacements: readonly Replacement[];
  readonly at: WorkPlace;
}

/** Of an ensemble: its members' digests, in order. Undefined where any version will do. */
function versionOf(reward: ResolvedReward, { run, results, replacements, at }: Known): string | undefined {
  if ("service" in reward) {
    const [target = ""] = targetsOf(reward);
    return (replacedAt(replacements, target, at)?.version ?? reward.service.version) || undefined;
  }
  const versions = modelsOf(reward).map(({ from }) => {
    const planned = trainedModel(run, results, from) ?? run.inputs.scorers?.find((one) => one.from === from);
    return (
      replacedAt(replacements, from, at)?.version ??
      (planned === undefined ? "" : modelVersion(planned.digest))
    );
  });
  return ensembleVersion(versions) || undefined;
}

/** What the stage made that `stage/<name>` refers to. */
export function trainedModel(
  { spec: { stages } }: ResolvedRun,
  results: Results,
  from: string,
): StageArtifact | undefined {
  return results[stages[referencedStage(stages, from) ?? -1]?.name ?? ""];
}

async function readReplacements(path: string): Promise<readonly Replacement[]> {
  const text = await readOptional(path);
  if (text === undefined) return [];
  const file: unknown = JSON.parse(text);
  const list: unknown =
    typeof file === "object" && file !== null && "replacements" in file ? file.replacements : [];
  if (Array.isArray(list) && list.every(isReplacement)) return list;
  throw new OarlockError("RUN_FOLDER_INVALID", `${path} is not of this version`);
}

function isReplacement(value: unknown): value is Replacement {
  if (typeof value !== "object" || value === null) return false;
  const { target, version, stage, step }: Partial<Record<keyof Replacement, unknown>> = value;
  const texts = typeof target === "string" && typeof version === "string";
  return texts && Number.isInteger(stage) && Number.isInteger(step);
}
