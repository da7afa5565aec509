/**
 * From a step on, a scorer has another version than the plan's. A replacement is an input of the run beside the plan: which work
 * gets which version follows from both alone (D1), however often a step is repeated. Pure.
 */
import type { StageArtifact } from "@oarlock/checkpoint";
import { modelsOf } from "@oarlock/runfile";
import type { ResolvedReward } from "@oarlock/runfile";

export interface Replacement {
  /** `stage/<name>` of a reward model; kind, address and name of a scorer in another process. */
  readonly target: string;
  /** The first work of the new version. */
  readonly stage: number;
  /** From 0. */
  readonly step: number;
  /** As verdicts carry it. */
  readonly version: string;
  /** Of a reward model: what took its place; kept under its digest. */
  readonly model?: StageArtifact;
}

/** A step of a stage. */
export type WorkPlace = Pick<Replacement, "stage" | "step">;

/** Whatever a reward's scores come from that can be replaced: none of code, which is the plan's; several of an ensemble. */
export function targetsOf(reward: ResolvedReward): readonly string[] {
  if (reward.type === "http") return [`http ${reward.http.url} ${reward.name}`];
  if (reward.type === "grpc") return [`grpc ${reward.grpc.address} ${reward.grpc.scorer}`];
  if (reward.type === "judge") return [`judge ${reward.judge.url} ${reward.name}`];
  return modelsOf(reward).map(({ from }) => from);
}

const isAfter = (a: WorkPlace, b: WorkPlace): boolean =>
  a.stage === b.stage ? a.step > b.step : a.stage > b.stage;

/** What has taken the place of `target` by then; undefined: nothing, it is the plan's. */
export function replacedAt(
  replacements: readonly Replacement[],
  target: string,
  at: WorkPlace,
): Replacement | undefined {
  return replacements.findLast((one) => one.target === target && !isAfter(one, at));
}

/** The replacement of `target` that no work has yet. At most one: the next is refused until then. */
export function pendingAt(
  replacements: readonly Replacement[],
  target: string,
  at: WorkPlace,
): Replacement | undefined {
  return replacements.find((one) => one.target === target && isAfter(one, at));
}
