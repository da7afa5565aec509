/**
 * What a stage is made from, as one digest: its own block, the rows, functions and model that it reads, the stages that it
 * builds on, seed and engine. Equal digests give equal results (D1), so a finished stage need not run again. Pure.
 *
 * As in a build system, a parent counts by what it is made from, so all of it is known before anything runs. Left out is what
 * changes no result: how often is saved, what is evaluated (unless that may end the stage), the gate that a result has to pass,
 * and who computes the reference's log-probs. Who computes a critic's values does count: with lag it is another critic.
 */
import type { ResolvedReward, ResolvedRun, ResolvedStage, ScorerInput } from "../resolved.ts";
import { blockOf, modelsOf, referencedStage, referencesOf, rolloutsOf, untilOf } from "../stage-parts.ts";
import { canonicalJson, digestOf } from "./digest.ts";

/** What decides the result of one stage. */
export interface StageInputs {
  readonly name: string;
  readonly digest: string;
  /** What the stage reads itself. */
  readonly own: Readonly<Record<string, unknown>>;
  /** Names of the stages that it builds on. */
  readonly parents: readonly string[];
}

type Run = Pick<ResolvedRun, "spec" | "inputs">;

/** Of every stage, in order. */
export function stageInputs(run: Run): StageInputs[] {
  const found: StageInputs[] = [];
  const { stages } = run.spec;
  for (const [index, stage] of stages.entries()) {
    const references = referencesOf(stage).flatMap(
      ({ from }) => found[referencedStage(stages, from) ?? -1] ?? [],
    );
    const parents = [...new Set(references)];
    const own = ownInputs(run, stage, index);
    const digest = digestOf({ own, parents: parents.map((parent) => parent.digest) });
    found.push({ name: stage.name, digest, own, parents: parents.map(({ name }) => name) });
  }
  return found;
}

function ownInputs({ spec, inputs }: Run, stage: ResolvedStage, index: number): Record<string, unknown> {
  const prefix = `stages.${index}.`;
  const { actors: _a, generationWorkers: _g, rewardWorkers: _r, ...compute } = spec.compute;
  return {
    // Part of the keys of everything random.
    position: index + 1,
    seed: spec.seed,
    [stage.type]: blockInputs(stage),
    ...filesBelow(inputs, prefix),
    ...scorersOf(inputs, stage),
    model: { ...("init" in spec.model ? spec.model : {}), ...inputs.model },
    ...(rolloutsOf(stage) === undefined ? {} : { pipeline: spec.pipeline }),
    ...endedBy({ spec, inputs }, stage),
    compute,
    engine: inputs.engine,
  };
}

/** Where an evaluation may end the stage: all that decides what it says. */
function endedBy({ spec, inputs }: Run, stage: ResolvedStage): Record<string, unknown> {
  if (untilOf(stage) === undefined) return {};
  const scorers = scorersNamed(inputs, spec.evaluation?.rewards ?? []);
  return { evaluation: { ...spec.evaluation, ...filesBelow(inputs, "evaluation."), ...scorers } };
}

/** Rows and functions that a block of the spec reads, by their digests. */
function filesBelow(
  { data, functions }: Run["inputs"],
  prefix: string,
): { readonly rows: readonly string[]; readonly functions: readonly string[] } {
  const digests = (read: typeof data | typeof functions): string[] =>
    read.filter(({ path }) => path.startsWith(prefix)).map(({ digest }) => digest);
  return { rows: digests(data), functions: digests(functions) };
}

/** Reward models that the stage reads: their names are in its block; their weights count, and what is computed with them. */
function scorersOf(
  inputs: Run["inputs"],
  stage: ResolvedStage,
): { readonly scorers?: readonly Omit<ScorerInput, "from">[] } {
  return scorersNamed(inputs, rolloutsOf(stage)?.rewards ?? []);
}

function scorersNamed(
  inputs: Run["inputs"],
  rewards: readonly ResolvedReward[],
): { readonly scorers?: readonly Omit<ScorerInput, "from">[] } {
  const named = new Set(rewards.flatMap(modelsOf).map(({ from }) => from));
  const read = (inputs.scorers ?? []).filter(({ from }) => named.has(from));
  return read.length === 0 ? {} : { scorers: read.map(({ digest, shape }) => ({ digest, shape })) };
}

function blockInputs(stage: ResolvedStage): unknown {
  const rollouts = rolloutsOf(stage);
  if (rollouts !== undefined) {
    const { reference: _, ...block } = rollouts;
    return block;
  }
  if (stage.type !== "reward-model") return blockOf(stage);
  const { minimumAccuracy: _, ...block } = stage["reward-model"];
  return block;
}

/** Whether a stage has to run, and why (not). */
export interface StageDecision {
  readonly name: string;
  readonly runs: boolean;
  readonly why: string;
}

/** An earlier run: its plan, and the digest of the inputs of every stage that it finished. */
export interface EarlierRun {
  readonly run: Run;
  readonly finished: ReadonlyMap<string, string>;
}

/** Differences named at most. */
const MOST_DIFFERENCES = 3;

/** Which stages of a plan run again over what an earlier run made. */
export function decideStages(run: Run, { run: earlier, finished }: EarlierRun): StageDecision[] {
  const before = new Map(stageInputs(earlier).map((inputs) => [inputs.name, inputs]));
  const running = new Set<string>();
  return stageInputs(run).map((inputs): StageDecision => {
    const { name, digest } = inputs;
    if (finished.get(name) === digest)
      return { name, runs: false, why: "finished, and its inputs are the same" };
    running.add(name);
    return { name, runs: true, why: reasonOf(inputs, before.get(name), running) };
  });
}

function reasonOf(
  inputs: StageInputs,
  before: StageInputs | undefined,
  running: ReadonlySet<string>,
): string {
  if (before === undefined) return "it is new";
  const differences = differencesOf(before.own, inputs.own);
  const again = inputs.parents.filter((parent) => running.has(parent));
  const reasons = [
    ...differences.slice(0, MOST_DIFFERENCES),
    ...(differences.length > MOST_DIFFERENCES ? [`${differences.length - MOST_DIFFERENCES} more`] : []),
    ...(again.length === 0 ? [] : [`${again.join(" and ")} ${again.length === 1 ? "runs" : "run"} again`]),
  ];
  return reasons.length === 0 ? "it was not finished" : reasons.join("; ");
}

/** Longest value that is shown. */
const SHOWN_CHARACTERS = 40;

function differencesOf(before: unknown, now: unknown, path = ""): string[] {
  if (canonicalJson(before ?? null) === canonicalJson(now ?? null)) return [];
  if (isBlock(before) && isBlock(now)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(now)])];
    return keys.flatMap((key) => differencesOf(before[key], now[key], path === "" ? key : `${path}.${key}`));
  }
  return [`${path} was ${shown(before)}, is ${shown(now)}`];
}

function isBlock(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  if (value === undefined) return "absent";
  const text = typeof value === "string" ? value : canonicalJson(value);
  return text.length <= SHOWN_CHARACTERS ? text : `${text.slice(0, SHOWN_CHARACTERS - 1)}…`;
}
