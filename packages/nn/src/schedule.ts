/** Learning-rate schedules: a function of the step alone, so that a resumed run continues (T3). */

export type ScheduleKind = "constant" | "linear" | "cosine";

export interface Schedule {
  readonly kind: ScheduleKind;
  /** The rate after warm-up. */
  readonly learningRate: number;
  /** Steps over which the rate rises linearly; the first step is 1/warmupSteps of it, never 0. */
  readonly warmupSteps: number;
  /** Steps of the whole stage; linear and cosine end there. */
  readonly totalSteps: number;
  /** What linear and cosine fall to, as a part of `learningRate`. Default 0. */
  readonly finalFraction?: number;
}

const shapes: { readonly [Kind in ScheduleKind]: (progress: number) => number } = {
  constant: () => 1,
  linear: (progress) => 1 - progress,
  cosine: (progress) => (1 + Math.cos(Math.PI * progress)) / 2,
};

/** The rate of step `step`, counted from 0. */
export function learningRateAt(schedule: Schedule, step: number): number {
  const { kind, learningRate, warmupSteps, totalSteps, finalFraction = 0 } = schedule;
  if (step < warmupSteps) return (learningRate * (step + 1)) / warmupSteps;
  const progress = Math.min(1, (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps));
  return learningRate * (finalFraction + (1 - finalFraction) * shapes[kind](progress));
}
