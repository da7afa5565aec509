/** What an optimizer leaves behind. What it computes is tested with the trainer. */
import { parameterLayout } from "@oarlock/nn";
import { openOrt, type OrtRuntime, type OrtTensor } from "@oarlock/ort";
import { expect, onTestFinished, test } from "vitest";
import { createLane } from "./lanes.ts";
import { createOptimizer } from "./optimizer.ts";
import { createFlatState } from "./state.ts";
import { SMALL_LLAMA } from "./testing.ts";

test.each(["logits", "both"] as const)(
  "a closed optimizer of a model that gives %s keeps no tensors",
  async (head) => {
    const ort = await openOrt({ driver: "native" });
    onTestFinished(() => ort.close());
    const config = { ...SMALL_LLAMA, head };
    const state = createFlatState(ort, config, new Float32Array(parameterLayout(config).length));
    const lanes = [createLane({ ort, config }, state.gradients)];
    const made: OrtTensor[] = [];
    const noted = (tensor: OrtTensor): OrtTensor => {
      made.push(tensor);
      return tensor;
    };
    const engine: OrtRuntime = {
      ...ort,
      tensor: (...given) => noted(ort.tensor(...given)),
      view: (...given) => noted(ort.view(...given)),
    };
    const optimizer = await createOptimizer(engine, { state, lanes, threads: 1, head });
    await optimizer.close();
    expect(made.length).toBeGreaterThan(0);
    expect(made.filter(({ disposed }) => !disposed)).toEqual([]);
  },
);
