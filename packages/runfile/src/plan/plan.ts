/**
 * The plan: a checked run file and facts about the world → a resolved run, the origin of every value, what it will
 * take, and every trap it would walk into. Pure (D1): no clock, no machine, no files.
 */
import { OarlockError } from "@oarlock/errors";
import { formatPath, type Problem } from "../problem.ts";
import type { ReadRunFile } from "../read-run-file.ts";
import type { ModelShape, ResolvedRun, ResolvedSpec, RunInputs } from "../resolved.ts";
import { runDigest } from "./digest.ts";
import type { PlanFacts } from "./facts.ts";
import { dataUses, functionUses } from "./inputs.ts";
import { estimateMemory, type MemoryEstimate } from "./memory.ts";
import type { Origins } from "./origins.ts";
import { resolveSpec } from "./resolve-spec.ts";
import { initShape, parameterCount } from "./shape.ts";
import { scorersRead } from "../stage-parts.ts";
import { stageTokens, type StageTokens } from "./time.ts";
import type { Trap, TrapContext } from "./trap.ts";
import { MODEL_TRAPS } from "./traps-model.ts";
import { RUN_TRAPS } from "./traps-run.ts";
import { scorerTraps } from "./traps-scorers.ts";
import { stageTraps } from "./traps-stages.ts";

export interface Plan {
  readonly run: ResolvedRun;
  readonly origins: Origins;
  /** Work of one step, per stage. */
  readonly tokens: readonly StageTokens[];
  readonly memory: MemoryEstimate;
  /** Data of which rows are left out. */
  readonly overlong: readonly OverlongRows[];
  /** Traps that the run must not enter; a run starts only where this is empty. */
  readonly problems: readonly Problem[];
  /** Traps that `allow` names. */
  readonly allowed: readonly Problem[];
}

/** Rows of a data block that are longer than a stage takes. */
export interface OverlongRows {
  /** Of the data block, e.g. `stages.0.sft.data`. */
  readonly path: string;
  readonly rows: number;
  /** Rows of the data. */
  readonly of: number;
  readonly maxLength: number;
}

/** Resolves a run. Fills every default, counts, and checks for traps; throws only where `facts` lacks a model from files. */
export function resolvePlan(file: ReadRunFile, facts: PlanFacts): Plan {
  const shape = shapeOf(file, facts);
  const longest = new Map([...facts.data].map(([path, { longestPrompt }]) => [path, longestPrompt]));
  const { spec, origins } = resolveSpec(file, { shape, longest });
  const inputs = inputsOf(spec, shape, facts);
  const memory = estimateMemory(spec, inputs);
  const { parameters } = inputs.model;
  const context: TrapContext = { spec, inputs, shape, parameters, facts, memory };
  const traps = [...MODEL_TRAPS, stageTraps, scorerTraps, ...RUN_TRAPS].flatMap((check) => check(context));
  const permitted = new Set<string>(spec.allow);
  const problem = ({ path, ...trap }: Trap): Problem => ({
    ...trap,
    ...file.locate(path),
    field: formatPath(path),
  });
  return {
    run: {
      apiVersion: "oarlock.dev/v1alpha1",
      kind: "ResolvedRun",
      name: file.run.metadata.name,
      spec,
      inputs,
      digest: runDigest(spec, inputs),
    },
    origins,
    tokens: tokensOf(spec, facts),
    memory,
    overlong: overlongRows(spec, facts),
    problems: traps.filter(({ code }) => !permitted.has(code)).map(problem),
    allowed: traps.filter(({ code }) => permitted.has(code)).map(problem),
  };
}

function shapeOf(file: ReadRunFile, facts: PlanFacts): ModelShape {
  if (facts.model.shape !== undefined) return facts.model.shape;
  const { model } = resolveSpec(file).spec;
  if ("init" in model) return initShape(model.init, facts.model.vocabSize);
  throw new OarlockError("PLAN_FACTS_MISSING", `the shape of the model ${model.from} is not among the facts`);
}

function inputsOf(spec: ResolvedSpec, shape: ModelShape, facts: PlanFacts): RunInputs {
  const { digest, tokenizerDigest, chatTemplateDigest } = facts.model;
  return {
    model: { shape, parameters: parameterCount(shape), digest, tokenizerDigest, chatTemplateDigest },
    data: dataUses(spec).map(({ path }) => {
      const data = facts.data.get(path);
      return {
        path,
        digest: data?.digest ?? "",
        rows: data?.rows ?? 0,
        longestPrompt: data?.longestPrompt ?? 0,
      };
    }),
    functions: functionUses(spec).map(({ path }) => ({ path, digest: facts.functions.get(path) ?? "" })),
    ...scorersOf(spec, facts),
    engine: facts.engine,
  };
}

/** Only where the run reads some: a plan without them is the plan that it was. */
function scorersOf(spec: ResolvedSpec, facts: PlanFacts): Pick<RunInputs, "scorers"> {
  const scorers = scorersRead(spec).map((from) => {
    const found = facts.scorers?.get(from);
    if (found === undefined)
      throw new OarlockError("PLAN_FACTS_MISSING", `the reward model ${from} is not among the facts`);
    return { from, ...found };
  });
  return scorers.length === 0 ? {} : { scorers };
}

function overlongRows(spec: ResolvedSpec, facts: PlanFacts): OverlongRows[] {
  return dataUses(spec).flatMap(({ path, maxLength = Number.POSITIVE_INFINITY }) => {
    const lengths = facts.data.get(path)?.lengths ?? [];
    const rows = lengths.filter((length) => length > maxLength).length;
    return rows === 0 ? [] : [{ path, rows, of: lengths.length, maxLength }];
  });
}

function tokensOf(spec: ResolvedSpec, facts: PlanFacts): StageTokens[] {
  return spec.stages.map((stage, index) => {
    const longest = facts.data.get(`stages.${index}.${stage.type}.data`)?.longestPrompt ?? 0;
    return stageTokens(stage, longest);
  });
}
