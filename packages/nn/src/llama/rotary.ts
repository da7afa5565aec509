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

export interface Rotation {
  readonly tables: RotaryTables;
  /** Of each token, int64 [B, T]. */
  readonly positions: Value;
  readonly config: Pick<LlamaConfig, "ropeConvention">;
  /** How many heads lie side by side in the last dimension. Default: they have a dimension of their own. */
  readonly sideBySide?: number;
}

/** Turns every head of `x` by its token's position. [B, heads, T, S], or side by side [B, T, heads·S] */
export function rotate(x: Value, { tables, positions, config, sideBySide }: Rotation): Value {
  const { cos, sin } = tables;
  const interleaved = config.ropeConvention === "interleaved" ? 1 : 0;
  const heads = sideBySide === undefined ? {} : { num_heads: sideBySide };
  return x.graph.one("RotaryEmbedding", [x, cos, sin, positions], { interleaved, ...heads });
}
