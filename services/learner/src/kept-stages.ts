/**
 * Stages that need not run, because an earlier run in this folder finished them and their inputs are the same: `kept.json`
 * names them. Such a stage begins at its end: with its result, its evaluations and its record.
 */
import { join } from "node:path";
import type { StageArtifact } from "@oarlock/checkpoint";
import { OarlockError } from "@oarlock/errors";
import { parseMetrics } from "@oarlock/report";
import type { MetricsRecord, SampleRecord } from "@oarlock/report";
import { restartsPolicy } from "@oarlock/runfile";
import { stageAt } from "./context.ts";
import type { LearnerParts, LearnerProgress } from "./context.ts";
import { readOptional, readSamples } from "./optional-file.ts";
import type { EvaluationRecord } from "./ports.ts";

/** `kept.json` of a run folder. */
export interface KeptFile {
  readonly stages: readonly StageArtifact[];
  /** Folder of the earlier run's records, relative to the run folder. */
  readonly records: string;
  /** Whether the policy is evaluated as it was then. */
  readonly sameEvaluation: boolean;
}

export const KEPT_FILE = "kept.json";

/** One stage that is not run again. */
export interface KeptStage {
  readonly artifact: StageArtifact;
  readonly records: readonly MetricsRecord[];
  readonly samples: readonly SampleRecord[];
}

/** By name. */
export type KeptStages = ReadonlyMap<string, KeptStage>;

/** Reads what a run folder keeps; nothing, where it keeps nothing. */
export async function readKeptStages(folder: string): Promise<KeptStages> {
  const text = await readOptional(join(folder, KEPT_FILE));
  if (text === undefined) return new Map();
  const file: unknown = JSON.parse(text);
  if (!isKeptFile(file)) {
    throw new OarlockError("RUN_FOLDER_INVALID", `${join(folder, KEPT_FILE)} is not of this version`);
  }
  const records = parseMetrics((await readOptional(join(folder, file.records, "metrics.jsonl"))) ?? "");
  const samples: SampleRecord[] = [];
  for await (const one of readSamples(join(folder, file.records, "samples.jsonl"))) samples.push(one);
  const counts = ({ kind, when }: MetricsRecord, artifact: StageArtifact): boolean =>
    kind === "step" || file.sameEvaluation || (artifact.kind === "reward-model" && when === "after");
  return new Map(
    file.stages.map((artifact) => {
      const { stage } = artifact;
      const own = records.filter((record) => record.stage === stage && counts(record, artifact));
      const kept = { artifact, records: newest(own), samples: samples.filter((one) => one.stage === stage) };
      return [stage, kept];
    }),
  );
}

/** After a resume a step may be there twice: the last one counts. */
function newest(records: readonly MetricsRecord[]): MetricsRecord[] {
  const key = ({ kind, when, step }: MetricsRecord): string => `${kind} ${when ?? ""} ${step}`;
  const last = new Map(records.map((record, at) => [key(record), at]));
  return records.filter((record, at) => last.get(key(record)) === at);
}

function isKeptFile(value: unknown): value is KeptFile {
  if (typeof value !== "object" || value === null) return false;
  const { stages, records, sameEvaluation }: Partial<Record<keyof KeptFile, unknown>> = value;
  return (
    Array.isArray(stages) && /^earlier\/\d+$/.test(String(records)) && typeof sameEvaluation === "boolean"
  );
}

/** The progress at the end of a kept stage, all of it written down; undefined where the stage has to run. */
export async function keepStage(
  parts: LearnerParts,
  progress: LearnerProgress,
  index: number,
): Promise<LearnerProgress | undefined> {
  const stage = stageAt(parts.run, index);
  const kept = parts.kept.get(stage.name);
  if (kept === undefined) return undefined;
  const { artifact } = kept;
  const base = progress.position.policy + (restartsPolicy(parts.run.spec.stages, index) ? 1 : 0);
  const steps = kept.records.reduce(
    (most, { kind, step }) => (kind === "step" ? Math.max(most, step) : most),
    0,
  );
  const planned = parts.program.stages[index]?.steps ?? 0;
  const number = base + steps;
  const policy = {
    number,
    digest: artifact.kind === "policy" ? artifact.digest : progress.current.policy.digest,
  };
  const weights = await parts.models.load(artifact, parts.signal);
  parts.onEvent({ type: "kept", stage: stage.name, steps, digest: artifact.digest });
  const evaluations = await writeDown(parts, kept, base);
  const isEvaluated = evaluations.some(({ when }) => when === "after");
  const position = {
    ...progress.position,
    step: steps,
    policy: number,
    // A guard or an evaluation had ended it.
    ...(steps < planned ? { ended: true } : {}),
    ...(isEvaluated ? { evaluatedPolicy: number } : {}),
    checkpointedPolicy: number,
  };
  const after = {
    ...progress,
    position,
    basePolicy: base,
    evaluations: [...progress.evaluations, ...evaluations],
    klCoefficient: undefined,
    guards: undefined,
  };
  if (artifact.kind === "reward-model") {
    await parts.scorer.open(weights);
    return { ...after, current: { ...progress.current, policy } };
  }
  const zeros = (): Float32Array => new Float32Array(weights.length);
  await parts.trainer.restore({ weights, firstMoments: zeros(), secondMoments: zeros(), optimizerStep: 0 });
  return { ...after, current: { policy, weights: (await parts.trainer.policy()).weights } };
}

/** The stage's record under the numbers that it has in this run. */
async function writeDown(
  { journal }: Pick<LearnerParts, "journal">,
  { records, samples }: KeptStage,
  base: number,
): Promise<EvaluationRecord[]> {
  const [first] = records;
  const shift = first === undefined ? 0 : base + first.step - first.globalStep;
  const moved = records.map((record) => {
    const globalStep = record.globalStep + shift;
    return { ...record, globalStep, policyVersion: globalStep };
  });
  for (const record of moved) await journal.metrics(record);
  await journal.samples(samples.map((one) => ({ ...one, policyVersion: one.policyVersion + shift })));
  return moved.flatMap(({ kind, when, stage, step, policyVersion, policyDigest, metrics }) =>
    kind === "evaluation" && when !== undefined
      ? [{ stage, when, step, policy: { number: policyVersion, digest: policyDigest }, metrics }]
      : [],
  );
}
