/**
 * Rotary position embedding (RoFormer, arXiv:2104.09864): pair i of a head is turned by position · θ^(−2i/S).
 * The tables are constants of a graph; which elements form a pair is the convention of the model.
 */
import { type Graph, type Value } from "@oarlock/onnx";
import { tensor } from "@oarlock/tensor";
import type { LlamaConfig } from "../config.ts";

export interface RotaryTables {
  /** [positions, S/2] */
  readonly cos: Value;
  /** [positions, S/2] */
  readonly sin: Value;
}

export function rotaryTables(graph: Graph, config: LlamaConfig, positions: number): RotaryTables {
  const half = config.headSize / 2;
  const angles = Array.from({ length: positions * half }, (_, i) => {
    const [position, pair] = [Math.floor(i / half), i % half];
    return position * config.ropeTheta ** ((-2 * pair) / config.headSize);
  });
  const table = (f: (angle: number) => number): Value =>
    graph.constant(tensor("float32", [positions, half], Float32Array.from(angles, f)));
  return { cos: table(Math.cos), sin: table(Math.sin) };
}

/** Turns every head of `x` [B, heads, T, S] by its position. `positions`: int64 [B, T]. */
export function rotate(x: Value, { cos, sin }: RotaryTables, positions: Value, config: LlamaConfig): Value {
  const interleaved = config.ropeConvention === "interleaved" ? 1 : 0;
  return x.graph.one("RotaryEmbedding", [x, cos, sin, positions], { interleaved });
}
