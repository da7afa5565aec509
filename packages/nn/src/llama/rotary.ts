/**
 * Rotary position embedding (RoFormer, arXiv:2104.09864): pair i of a head is turned by position · θ^(−2i/S).
 * The tables are constants of a graph, or inputs where its rows have any length; which elements form a pair is the convention of the
 * model.
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

/**
 * The content of the tables for the first `positions` positions, each [positions, S/2]. Of heads that are padded to `padded` elements
 * [positions, padded/2]: pairs of padding are not turned.
 */
export function rotaryTables(
  { headSize, ropeTheta }: Pick<LlamaConfig, "headSize" | "ropeTheta">,
  positions: number,
  padded: number = headSize,
): { readonly cos: Float32Array; readonly sin: Float32Array } {
  const half = padded / 2;
  const angles = Float64Array.from({ length: positions * half }, (_, i) => {
    const [position, pair] = [Math.floor(i / half), i % half];
    return 2 * pair < headSize ? position * ropeTheta ** ((-2 * pair) / headSize) : 0;
  });
  return { cos: Float32Array.from(angles, Math.cos), sin: Float32Array.from(angles, Math.sin) };
}

export function rotaryConstants(graph: Graph, config: LlamaConfig, positions: number): RotaryTables {
  const tables = rotaryTables(config, positions);
  const table = (data: Float32Array): Value =>
    graph.constant(tensor("float32", [positions, config.headSize / 2], data));
  return { cos: table(tables.cos), sin: table(tables.sin) };
}

/** The inputs `cos` and `sin`, for tables of any number of positions. */
export function rotaryInputs(graph: Graph, { headSize }: Pick<LlamaConfig, "headSize">): RotaryTables {
  const table = (name: string): Value => graph.input(name, "float32", ["positions", headSize / 2]);
  return { cos: table("cos"), sin: table("sin") };
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
