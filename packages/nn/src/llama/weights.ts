/** The weights as values of a graph, by the names of the layout's views. Knows nothing of what computes with them. */
import { OarlockError } from "@oarlock/errors";
import type { Graph, Value } from "@oarlock/onnx";
import type { LlamaConfig } from "../config.ts";
import { parameterLayout } from "../layout.ts";

/** The weight of that name: "embedding", "layer3.qkv", "finalNorm", … */
export type WeightLookup = (name: string) => Value;

/** Fed with every run, or attached (and prepacked) when the session is made. */
export type WeightRole = "input" | "initializer";

/** Declares every view of the layout in `graph`. */
export function declareWeights(graph: Graph, config: LlamaConfig, role: WeightRole = "input"): WeightLookup {
  const declared = new Map(
    parameterLayout(config).views.map(({ name, shape }) => [
      name,
      role === "input" ? graph.input(name, "float32", shape) : graph.initializer(name, "float32", shape),
    ]),
  );
  return (name) => {
    const value = declared.get(name);
    if (!value) throw new OarlockError("NN_WEIGHT", `this model has no weight ${name}`);
    return value;
  };
}
