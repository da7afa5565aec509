/** Weights that are not trained, and forward passes over them: what reward models and reference policies are made of. */
import { OarlockError } from "@oarlock/errors";
import { type LlamaConfig, type LlamaHead, parameterLayout } from "@oarlock/nn";
import { openOrt, type OpenOrtOptions, type OrtTensor } from "@oarlock/ort";
import { checkRows } from "./packing.ts";
import { createPassContext, forwardPass, type ForwardPass } from "./passes.ts";
import { disposeAll, resident, type Tensors, viewTensors } from "./state.ts";
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
  /** Other weights of the same shape. */
  load(weights: Float32Array): void;
  close(): Promise<void>;
}

/** Throws `TRAINING_STATE` where the weights are not those of a model that gives one of `heads`. */
export async function openFrozenModel(
  { config, weights, ort: engine }: FrozenModelOptions,
  heads: readonly LlamaHead[],
): Promise<FrozenModel> {
  const layout = parameterLayout(config);
  const { head = "logits" } = config;
  const check = (given: Float32Array): void => {
    if (heads.includes(head) && given.length === layout.length) return;
    const what = `${given.length} weights of a model that gives ${head}`;
    const accepted = `${layout.length}, of one that gives ${heads.join(" or ")}`;
    throw new OarlockError("TRAINING_STATE", `${what}; accepted: ${accepted}`);
  };
  check(weights);
  const ort = await openOrt(engine);
  const context = createPassContext(ort, config, false);
  const hold = (given: Float32Array): { readonly flat: OrtTensor; readonly views: Tensors } => {
    const flat = resident(ort, given);
    return { flat, views: viewTensors(ort, layout.views, { flat }) };
  };
  // Nothing where other weights could not be held: the old ones are gone by then, for want of room for both.
  let held: ReturnType<typeof hold> | undefined = hold(weights);
  const letGo = (): void => {
    disposeAll(held?.views, held?.flat);
    held = undefined;
  };
  return {
    forward(rows, pass) {
      checkRows(rows, config);
      if (held === undefined) throw new OarlockError("TRAINING_STATE", "other weights could not be loaded");
      return forwardPass(context, rows, { ...pass, weights: held.views });
    },
    load(next) {
      check(next);
      letGo();
      held = hold(next);
    },
    async close() {
      await context.close();
      letGo();
      await ort.close();
    },
  };
}
