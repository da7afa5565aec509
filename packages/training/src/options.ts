/** The numbers of a step, checked before anything is computed: none of them can make finite gradients a non-finite update (W3). */
import { OarlockError } from "@oarlock/errors";
import { rowsTogether } from "./objective.ts";
import type { Objective, OptimizerSettings, StepOptions, TrainerOptions } from "./types.ts";

interface Bound {
  readonly least: number;
  readonly most: number;
}

const WHOLE: Bound = { least: 1, most: 2 ** 31 };

const optimizerBounds: { readonly [N in keyof OptimizerSettings]-?: Bound } = {
  learningRate: { least: 0, most: 10 },
  beta1: { least: 0, most: 1 - 2 ** -20 },
  beta2: { least: 0, most: 1 - 2 ** -24 },
  /** Above what float32 rounds to 0 beside the bias correction: 0 / 0 must not arise. */
  epsilon: { least: 1e-20, most: 1 },
  weightDecay: { least: 0, most: 10 },
  maxGradNorm: { least: 0, most: 1e9 },
};

const objectiveBounds = {
  klCoefficient: { least: 0, most: 1e6 },
  entropyCoefficient: { least: 0, most: 1e6 },
} as const;

function check(name: string, value: number | undefined, { least, most }: Bound, whole = false): void {
  if (value === undefined) return;
  if (value >= least && value <= most && (!whole || Number.isInteger(value))) return;
  const accepted = `a ${whole ? "whole " : ""}number from ${least} to ${most}`;
  throw new OarlockError("TRAINING_OPTION", `${name} is ${value}; accepted: ${accepted}`);
}

function checkObjective(objective: Objective): void {
  if (objective.type === "value") check("objective.clip", objective.clip, { least: 0, most: 1e6 });
  if (objective.type === "pairs") check("objective.centering", objective.centering, { least: 0, most: 1e6 });
  if (objective.type === "ranking")
    check("objective.answers", objective.answers, { least: 2, most: 64 }, true);
  if (objective.type !== "grpo") return;
  const { clip } = objective;
  for (const [name, bound] of Object.entries(objectiveBounds)) {
    check(
      `objective.${name}`,
      name === "klCoefficient" ? objective.klCoefficient : objective.entropyCoefficient,
      bound,
    );
  }
  check("objective.value.clip", objective.value?.clip, { least: 0, most: 1e6 });
  check("objective.value.coefficient", objective.value?.coefficient, { least: 0, most: 1e6 });
  check("objective.clip.low", clip.low, { least: 0, most: 1 });
  check("objective.clip.high", clip.high, { least: 0, most: 1e6 });
  check("objective.clip.dual", clip.dual, { least: 0, most: 1e6 });
}

/** Throws `TRAINING_OPTION` where a mini-batch or a micro-batch would cut a pair or a ranking. */
export function checkTogether(rows: number, { objective, microBatchSize, miniBatchSize }: StepOptions): void {
  const together = rowsTogether(objective);
  if (together === 1) return;
  const accepted = `accepted for ${objective.type}: ${together === 2 ? "an even number" : `a multiple of ${together}`}`;
  for (const [name, size] of Object.entries({ rows, microBatchSize, miniBatchSize })) {
    if (size === undefined || size % together === 0) continue;
    throw new OarlockError("TRAINING_OPTION", `${name} is ${size}; ${accepted}`);
  }
}

/** Throws `TRAINING_OPTION`, naming the field, its value and what would be accepted. */
export function checkStepOptions(options: StepOptions): void {
  for (const name of ["microBatchSize", "epochs", "miniBatchSize", "maxLength"] as const)
    check(name, options[name], WHOLE, true);
  check("mix.coefficient", options.mix?.coefficient, { least: 0, most: 1e6 });
  check("maxKl", options.maxKl, { least: 0, most: 1e6 });
  check("temperature", options.temperature, { least: 1e-3, most: 1e3 });
  checkObjective(options.objective);
  const { optimizer } = options;
  for (const name of ["learningRate", "beta1", "beta2", "epsilon", "weightDecay", "maxGradNorm"] as const) {
    check(`optimizer.${name}`, optimizer[name], optimizerBounds[name]);
  }
}

export function checkTrainerOptions({ lanes }: TrainerOptions): void {
  check("lanes", lanes, { least: 1, most: 64 }, true);
}
