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
import { createEraser, disposeAll, type Tensors, viewTensors } from "./state.ts";
import type { StepOptions } from "./types.ts";

export interface Lane {
  /** Flat, in nn's layout. */
  readonly flat: OrtTensor;
  readonly gradients: Tensors;
  readonly accumulators: Tensors;
  /** Sets them to zero. */
  clear(): void;
  dispose(): void;
}

export function createLane(context: Pick<PassContext, "ort" | "config">, flat: OrtTensor): Lane {
  const { views } = parameterLayout(context.config);
  const gradients = viewTensors(context.ort, views, { flat, name: gradientName });
  const accumulators = viewTensors(context.ort, views, { flat, name: accumulatorName });
  const eraser = createEraser(context.ort, flat);
  return {
    flat,
    gradients,
    accumulators,
    clear: () => eraser.clear(),
    dispose() {
      eraser.dispose();
      disposeAll(gradients, accumulators, flat);
    },
  };
}

export interface LanesRun {
  readonly weights: Tensors;
  readonly options: StepOptions;
  readonly old: OldLogprobs;
  /** Called before each micro-batch: may throw to stop. */
  readonly pause: () => Promise<void>;
}

/** Micro-batch i goes to lane i mod lanes, whose gradients it adds to. Returns each micro-batch's result, in their order. */
export async function runLanes(
  context: PassContext,
  lanes: readonly Lane[],
  microBatches: readonly (readonly WeightedRow[])[],
  { pause, ...shared }: LanesRun,
): Promise<readonly GradientResult[]> {
  const results: GradientResult[] = [];
  const runLane = async ({ gradients, accumulators }: Lane, index: number): Promise<void> => {
    for (let i = index; i < microBatches.length; i += lanes.length) {
      await pause();
      const pass = { ...shared, gradients, accumulators };
      results[i] = await gradientPass(context, microBatches[i] ?? [], pass);
    }
  };
  await allEnded(lanes.map(runLane));
  return results;
}

/** All end before an error is told, the first of them: nobody uses what they share afterwards. */
export async function allEnded(runs: readonly Promise<void>[]): Promise<void> {
  for (const end of await Promise.allSettled(runs)) if (end.status === "rejected") throw end.reason;
}
