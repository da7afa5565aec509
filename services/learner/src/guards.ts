/**
 * The guards of a stage at work: each step's metrics go through the reducer of `@oarlock/run`, and what it asks for is done.
 * `stop` ends the run, `roll-back` ends the stage with the last good policy as its result, `raise-beta` multiplies the weight
 * of the KL. All of it follows from the plan and the metrics, and is in the checkpoint (D1, T3).
 */
import { OarlockError } from "@oarlock/errors";
import { isGood, watchGuards } from "@oarlock/run";
import type { Alarm, GuardState } from "@oarlock/run";
import { rolloutsOf } from "@oarlock/runfile";
import type { ResolvedGuard, ResolvedStage } from "@oarlock/runfile";
import type { LearnerParts, LearnerProgress } from "./context.ts";
import type { ServedPolicy } from "./publication.ts";

type Numbers = Readonly<Record<string, number>>;

/** What guards keep between two steps. */
export interface GuardProgress {
  readonly state: GuardState;
  /** What a roll-back goes back to: kept where a guard of the stage may ask for it. */
  readonly good?: ServedPolicy;
}

export function guardsOf(stage: ResolvedStage): readonly ResolvedGuard[] {
  return rolloutsOf(stage)?.guards ?? [];
}

/** Beyond it nothing but the KL is learned; unbounded, alarm upon alarm would end at Infinity, which is no JSON (T3). */
const MAX_KL_COEFFICIENT = 1e6;

/** The KL coefficient of the next step. */
export function raisedBeta(beta: number, factor: number): number {
  return Math.min(beta * factor, MAX_KL_COEFFICIENT);
}

const rollsBack = ({ reaction }: Pick<Alarm, "reaction">): boolean => reaction === "roll-back";

/** At a stage's start: nothing seen, and the policy of the start is good. */
export function beginGuards(stage: ResolvedStage, current: ServedPolicy): GuardProgress | undefined {
  const guards = guardsOf(stage);
  if (guards.length === 0) return undefined;
  return { state: {}, ...(guards.some(rollsBack) ? { good: current } : {}) };
}

/** What a step's metrics led to. */
export interface GuardedStep {
  readonly guards: GuardProgress | undefined;
  readonly alarms: readonly Alarm[];
  /** `guard/<name>/strain` and `/fired`. */
  readonly metrics: Numbers;
  /** What the KL coefficient is multiplied by. */
  readonly betaFactor: number;
  /** Whether the stage is over: the trainer holds the good policy again. */
  readonly ended: boolean;
}

const UNGUARDED: GuardedStep = { guards: undefined, alarms: [], metrics: {}, betaFactor: 1, ended: false };

/** Looks at the metrics of a step that the trainer has done, and rolls back if that is what follows. */
export async function guardStep(
  parts: Pick<LearnerParts, "trainer">,
  { guards: before, current }: Pick<LearnerProgress, "guards" | "current">,
  { stage, metrics }: { readonly stage: ResolvedStage; readonly metrics: Numbers },
): Promise<GuardedStep> {
  const guards = guardsOf(stage);
  if (before === undefined || guards.length === 0) return UNGUARDED;
  const { state, effects: alarms } = watchGuards(before.state, guards, metrics);
  const { good } = before;
  const ended = good !== undefined && alarms.some(rollsBack);
  if (ended) await rollBack(parts, good);
  const raised = alarms.filter(({ reaction }) => reaction === "raise-beta");
  const factors = raised.map(({ guard }) => guards.find(({ name }) => name === guard)?.factor ?? 1);
  return {
    // The step's metrics are of samples of the policy before it.
    guards: { state, ...(good === undefined ? {} : { good: isGood(state, guards) ? current : good }) },
    alarms,
    metrics: Object.fromEntries(
      guards.flatMap(({ name }) => [
        [`guard/${name}/strain`, state[name]?.strain ?? 0],
        [`guard/${name}/fired`, alarms.some(({ guard }) => guard === name) ? 1 : 0],
      ]),
    ),
    betaFactor: factors.reduce((product, factor) => product * factor, 1),
    ended,
  };
}

/** The moments are of no use: the stage is over. */
async function rollBack(
  { trainer }: Pick<LearnerParts, "trainer">,
  { weights }: ServedPolicy,
): Promise<void> {
  const zeros = (): Float32Array => new Float32Array(weights.length);
  await trainer.restore({ weights, firstMoments: zeros(), secondMoments: zeros(), optimizerStep: 0 });
}

/** Throws `GUARD_STOPPED` where an alarm ends the run. */
export function checkStop(stage: ResolvedStage, step: number, alarms: readonly Alarm[]): void {
  const stop = alarms.find(({ reaction }) => reaction === "stop");
  if (stop === undefined) return;
  throw new OarlockError(
    "GUARD_STOPPED",
    `stage ${stage.name}, step ${step}: guard ${stop.message}. Change the stage or stages.${stage.name}.${stage.type}.guards, ` +
      "and run again into the same folder: finished stages are kept",
  );
}
