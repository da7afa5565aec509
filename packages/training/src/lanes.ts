/**
 * Lanes: micro-batches dealt to gradient arrays of their own, which are added up in the order of the lanes. Each lane runs
 * its micro-batches one after another; lanes run at the same time.
 *
 * Two lanes of one thread are faster than two threads on every operation: small micro-batches stay in the cache of their
 * core and no operation waits for a second thread. The number of lanes decides the order of additions, so it is a value of
 * the plan (D1); which lane is done first decides nothing.
 */
import { parameterLayout } from "@oarlock/nn";
import type { OrtTensor } from "@oarlock/ort";
import { accumulatorName, gradientName } from "./graphs.ts";
import type { OldLogprobs } from "./objective.ts";
import type { WeightedRow } from "./packing.ts";
import { gradientPass, type GradientResult, type PassContext } from "./passes.ts";
import { type Tensors, viewTensors } from "./state.ts";
import type { StepOptions } from "./types.ts";

export interface Lane {
  /** Flat, in nn's layout. */
  readonly flat: OrtTensor;
  readonly gradients: Tensors;
  readonly accumulators: Tensors;
}

export function createLane(context: Pick<PassContext, "ort" | "config">, flat: OrtTensor): Lane {
  const { views } = parameterLayout(context.config);
  return {
    flat,
    gradients: viewTensors(context.ort, views, { flat, name: gradientName }),
    accumulators: viewTensors(context.ort, views, { flat, name: accumulatorName }),
  };
}

export interface LanesRun {
  readonly weights: Tensors;
  readonly options: StepOptions;
  readonly old: OldLogprobs;
  /** Called before each micro-batch: may throw to stop. */
  readonly pause: () => Promise<void>;
  /** So many lanes hold gradients already, which are added to. Default 0. */
  readonly filled?: number;
}

/**
 * Micro-batch i goes to lane i mod lanes. Returns each micro-batch's result, in their order, and leaves the gradients in
 * the lanes; `used` lanes hold some.
 */
export async function runLanes(
  context: PassContext,
  lanes: readonly Lane[],
  microBatches: readonly (readonly WeightedRow[])[],
  { weights, options, old, pause, filled = 0 }: LanesRun,
): Promise<{ results: readonly GradientResult[]; used: number }> {
  const results: GradientResult[] = [];
  const runLane = async (lane: Lane, index: number): Promise<void> => {
    for (let i = index; i < microBatches.length; i += lanes.length) {
      await pause();
      const accumulators = i === index && index >= filled ? undefined : lane.accumulators;
      const pass = { weights, gradients: lane.gradients, accumulators, options, old };
      results[i] = await gradientPass(context, microBatches[i] ?? [], pass);
    }
  };
  const ended = await Promise.allSettled(lanes.map(runLane)); // all end before an error is told: nobody writes afterwards
  for (const end of ended) if (end.status === "rejected") throw end.reason;
  return { results, used: Math.max(filled, Math.min(lanes.length, microBatches.length)) };
}
