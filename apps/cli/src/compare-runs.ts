/** Two runs of one plan, compared: the first step whose policy differs, and which input changed. Pure. */
import type { MetricsRecord } from "@oarlock/report";
import { canonicalJson, type ResolvedRun } from "@oarlock/runfile";

/** The first step at which two runs part. */
export interface FirstDifference {
  readonly stage: string;
  readonly step: number;
  readonly expected: string;
  /** undefined: the second run has no such step. */
  readonly found: string | undefined;
}

/** Compares the digest of every policy version, in order. */
export function firstDifference(
  expected: readonly MetricsRecord[],
  found: readonly MetricsRecord[],
): FirstDifference | undefined {
  const steps = (records: readonly MetricsRecord[]) => records.filter(({ kind }) => kind === "step");
  const digests = new Map(
    steps(found).map((record) => [`${record.stage} ${record.step}`, record.policyDigest]),
  );
  for (const { stage, step, policyDigest } of steps(expected)) {
    const digest = digests.get(`${stage} ${step}`);
    if (digest !== policyDigest) return { stage, step, expected: policyDigest, found: digest };
  }
  return undefined;
}

/** One input of a run that is not what it was. */
export interface ChangedInput {
  readonly input: "spec" | "model" | "data" | "functions" | "engine" | "instruction set";
  readonly was: string;
  readonly is: string;
}

/** Which inputs of the plan changed between two resolutions of it. */
export function changedInputs(was: ResolvedRun, is: ResolvedRun): ChangedInput[] {
  const { instructionSet: oldSet, ...oldEngine } = was.inputs.engine;
  const { instructionSet: newSet, ...newEngine } = is.inputs.engine;
  const pairs: readonly (readonly [ChangedInput["input"], unknown, unknown])[] = [
    ["spec", was.spec, is.spec],
    ["model", was.inputs.model, is.inputs.model],
    ["data", was.inputs.data, is.inputs.data],
    ["functions", was.inputs.functions, is.inputs.functions],
    ["engine", oldEngine, newEngine],
    ["instruction set", oldSet, newSet],
  ];
  return pairs.flatMap(([input, before, after]) =>
    differenceOf(before, after).map(([old, now]) => ({ input, was: old, is: now })),
  );
}

/** The innermost differing parts, as `path=value`. */
function differenceOf(before: unknown, after: unknown, path = ""): [string, string][] {
  if (canonicalJson(before) === canonicalJson(after)) return [];
  const blocks = [before, after].every((value) => typeof value === "object" && value !== null);
  if (!blocks) return [[`${path}${JSON.stringify(before)}`, `${path}${JSON.stringify(after)}`]];
  const [left, right] = [new Map(Object.entries(before ?? {})), new Map(Object.entries(after ?? {}))];
  const keys = [...new Set([...left.keys(), ...right.keys()])];
  return keys.flatMap((key) =>
    differenceOf(left.get(key), right.get(key), `${path.replace(/=$/, path === "" ? "" : ".")}${key}=`),
  );
}
