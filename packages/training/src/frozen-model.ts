/** Weights that are not trained, and forward passes over them: what reward models and reference policies are made of. */
import { OarlockError } from "@oarlock/errors";
import { type LlamaConfig, parameterLayout } from "@oarlock/nn";
import { openOrt, type OpenOrtOptions } from "@oarlock/ort";
import { checkRows } from "./packing.ts";
import { forwardPass, type ForwardPass } from "./passes.ts";
import { createSessionCache } from "./sessions.ts";
import { disposeAll, resident, viewTensors } from "./state.ts";
import type { TrainingRow } from "./types.ts";

export interface FrozenModelOptions {
  readonly config: LlamaConfig;
  /** Flat, in nn's layout; nobody writes to them. */
  readonly weights: Float32Array;
  /** Engine: provider, driver, threads (D1: from the plan). */
  readonly ort?: OpenOrtOptions;
}

export interface FrozenModel {
  /** Log-probs or scores of the wanted tokens of each row, 0 elsewhere: one run of the graph over all rows. */
  forward(
    rows: readonly TrainingRow[],
    pass: Pick<ForwardPass, "temperature" | "wanted">,
  ): Promise<Float32Array[]>;
  close(): Promise<void>;
}

/** Throws `TRAINING_STATE` where the weights are not those of a model that gives `head`. */
export async function openFrozenModel(
  { config, weights, ort: engine }: FrozenModelOptions,
  head: "logits" | "score",
): Promise<FrozenModel> {
  const layout = parameterLayout(config);
  const { head: given = "logits" } = config;
  if (given !== head || weights.length !== layout.length) {
    throw new OarlockError(
      "TRAINING_STATE",
      `${weights.length} weights of a model that gives ${given}; accepted: ${layout.length}, of one that gives ${head === "score" ? "scores" : head}`,
    );
  }
  const ort = await openOrt(engine);
  const sessions = createSessionCache(ort, config);
  const extents = { maxPositions: config.maxPositions };
  const context = { ort, config, sessions, extents, concurrent: false };
  const flat = resident(ort, weights);
  const tensors = viewTensors(ort, layout.views, { flat });
  return {
    forward(rows, pass) {
      checkRows(rows, config);
      return forwardPass(context, rows, { ...pass, weights: tensors });
    },
    async close() {
      await sessions.close();
      disposeAll(tensors, flat);
      await ort.close();
    },
  };
}
