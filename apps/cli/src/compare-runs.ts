/** Two runs of one plan, compared: the first step whose policy differs, and which input changed. Pure. */
import type { MetricsRecord } from "@oarlock/report";
import { canonicalJson, dataUses, functionUses, type ResolvedRun } from "@oarlock/runfile";

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
  readonly input: "spec" | "model" | "data" | "functions" | "scorers" | "engine" | "instruction set";
  /** Which part of it, e.g. `stages.0.sft.data (./sums.jsonl) digest`; "" for all of it. */
  readonly part: string;
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
    ["data", dataByName(was), dataByName(is)],
    ["functions", functionsByName(was), functionsByName(is)],
    ["scorers", scorersByName(was), scorersByName(is)],
    ["engine", oldEngine, newEngine],
    ["instruction set", oldSet, newSet],
  ];
  return pairs.flatMap(([input, before, after]) =>
    differenceOf(before, after).map((difference) => ({ input, ...difference })),
  );
}

/** The run without the reward models that others took the place of: of those the learner keeps what it still needs. */
export function withoutReplaced(run: ResolvedRun, replaced: ReadonlySet<string>): ResolvedRun {
  const { scorers, ...inputs } = run.inputs;
  if (scorers === undefined) return run;
  return { ...run, inputs: { ...inputs, scorers: scorers.filter(({ from }) => !replaced.has(from)) } };
}

/** For people. */
export const changeLine = ({ input, part, was, is }: ChangedInput): string =>
  `changed ${input}${part === "" ? "" : `: ${part}`}: ${was} is now ${is}`;

/** A file's name says more to a user than its place in the plan. */
function dataByName({ spec, inputs }: ResolvedRun): Record<string, unknown> {
  const files = new Map(
    dataUses(spec).map(({ path, data }) => [path, data.type === "file" ? ` (${data.file.path})` : ""]),
  );
  return Object.fromEntries(
    inputs.data.map(({ path, ...rest }) => [`${path}${files.get(path) ?? ""} `, rest]),
  );
}

function functionsByName({ spec, inputs }: ResolvedRun): Record<string, unknown> {
  const files = new Map(functionUses(spec).map(({ path, file }) => [path, ` (${file})`]));
  return Object.fromEntries(
    inputs.functions.map(({ path, ...rest }) => [`${path}${files.get(path) ?? ""} `, rest]),
  );
}

function scorersByName({ inputs }: ResolvedRun): Record<string, unknown> {
  return Object.fromEntries((inputs.scorers ?? []).map(({ from, ...rest }) => [`${from} `, rest]));
}

/** The innermost differing parts. */
function differenceOf(before: unknown, after: unknown, part = ""): Omit<ChangedInput, "input">[] {
  if (canonicalJson(before) === canonicalJson(after)) return [];
  const blocks = [before, after].every((value) => typeof value === "object" && value !== null);
  if (!blocks) return [{ part, was: shown(before), is: shown(after) }];
  const [left, right] = [new Map(Object.entries(before ?? {})), new Map(Object.entries(after ?? {}))];
  const keys = [...new Set([...left.keys(), ...right.keys()])];
  const below = part === "" || part.endsWith(" ") ? part : `${part}.`;
  return keys.flatMap((key) => differenceOf(left.get(key), right.get(key), `${below}${key}`));
}

const shown = (value: unknown): string => JSON.stringify(value) ?? "absent";
