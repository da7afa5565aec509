/** Traps that every stage can fall into: batches that do not divide, learning rates that are slips. */
import type { Path } from "../problem.ts";
import type { ResolvedOptimizer } from "../resolved.ts";
import { type AllowableTrap, type Trap, type TrapContext, trapWhen } from "./trap.ts";

/** A check of one stage; `path` is that of its block. */
export type StageCheck<S> = (stage: S, path: Path, context: TrapContext) => Trap[];

/** Sequences that split into micro-batches. */
export const batch =
  (sequences: number, what: string): StageCheck<{ readonly microBatchSize: number }> =>
  ({ microBatchSize }, path) =>
    trapWhen(sequences % microBatchSize !== 0, () => ({
      code: "BATCH_NOT_DIVISIBLE",
      path: [...path, "microBatchSize"],
      message: `${what} = ${sequences} sequences do not split into micro-batches of ${microBatchSize}`,
      value: String(microBatchSize),
      accepted: `a divisor of ${sequences}, e.g. ${divisorNear(sequences, microBatchSize)}`,
    }));

function divisorNear(total: number, near: number): number {
  let divisor = Math.min(near, total);
  while (total % divisor !== 0) divisor--;
  return divisor;
}

/** Learning rates outside are almost always slips of a decimal: [least, most]. */
export const SFT_RATES = [1e-7, 1e-2] as const;

/** A learning rate within reason, a warm-up that ends, a schedule that falls. */
export function optimizer(
  options: ResolvedOptimizer,
  path: Path,
  [least, most]: readonly [number, number],
  steps: number,
): Trap[] {
  const { learningRate, warmupSteps, minLearningRate } = options;
  return [
    ...trapWhen(learningRate < least || learningRate > most, (): AllowableTrap => ({
      code: "LEARNING_RATE_RANGE",
      path: [...path, "learningRate"],
      message: `is outside the range in which this kind of stage learns on a model of this size`,
      value: String(learningRate),
      accepted: `${least} to ${most}, or allow: [LEARNING_RATE_RANGE]`,
    })),
    ...trapWhen(warmupSteps >= steps, () => ({
      code: "WARMUP_TOO_LONG",
      path: [...path, "warmupSteps"],
      message: `the warm-up of ${warmupSteps} steps never ends: the stage has ${steps}`,
      value: String(warmupSteps),
      accepted: `less than ${steps}`,
    })),
    ...trapWhen(minLearningRate > learningRate, () => ({
      code: "SCHEDULE_RISES",
      path: [...path, "minLearningRate"],
      message: `is above the peak learning rate ${learningRate}`,
      value: String(minLearningRate),
      accepted: `at most ${learningRate}`,
    })),
  ];
}
