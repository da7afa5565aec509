/** The metrics that a gradient graph hands out, added over micro-batches in float64 and averaged over updates. */
import type { StepSums } from "./types.ts";

export const SUM_NAMES: readonly (keyof StepSums)[] = [
  "loss",
  "nll",
  "policyLoss",
  "oldKl",
  "refKl",
  "entropy",
  "clipFraction",
  "clipFractionLower",
  "value",
  "valueClipFraction",
  "valueLoss",
  "accuracy",
  "lead",
  "score",
  "mixedNll",
];

/** Aggregated as the loss is: what the user asked to minimise, whatever its weights add up to. */
const partsOfLoss: ReadonlySet<keyof StepSums> = new Set(["loss", "policyLoss", "refKl", "valueLoss"]);

type MutableSums = { -readonly [N in keyof StepSums]: StepSums[N] };

export function emptySums(): MutableSums {
  return {
    loss: 0,
    nll: 0,
    policyLoss: 0,
    oldKl: 0,
    refKl: 0,
    entropy: 0,
    clipFraction: 0,
    clipFractionLower: 0,
    value: 0,
    valueClipFraction: 0,
    valueLoss: 0,
    accuracy: 0,
    lead: 0,
    score: 0,
    mixedNll: 0,
  };
}

export function addSums(a: StepSums, b: StepSums): MutableSums {
  const total = emptySums();
  for (const name of SUM_NAMES) total[name] = a[name] + b[name];
  return total;
}

export function meanSums(all: readonly StepSums[]): StepSums {
  const total = all.reduce<MutableSums>((sum, one) => addSums(sum, one), emptySums());
  for (const name of SUM_NAMES) total[name] /= Math.max(1, all.length);
  return total;
}

/** Sums whose weights add up to `totalWeight`, as means; what the loss is made of stays as it is. */
export function tokenMeans(sums: StepSums, totalWeight: number): MutableSums {
  const means = addSums(sums, emptySums());
  for (const name of SUM_NAMES) if (!partsOfLoss.has(name)) means[name] /= totalWeight;
  return means;
}
