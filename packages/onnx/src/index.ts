/**
 * ONNX graphs built in code: `const g = createGraph("f"); const x = g.input("x", "float32", ["rows", 4]);
 * g.output("y", mul(silu(x), 2)); const bytes = serializeModel(g);`
 *
 * Shapes and types are checked as the graph is built. Weights are inputs (`input`) or attached when a session is made
 * (`initializer`).
 */
export { createGraph, Graph, sizeInputs } from "./graph.ts";
export type { GraphInput, GraphNode, GraphOutput, SizeInput, Value, ValueType } from "./graph.ts";
export { broadcast, product, sameShape, showShape, sizesOf, sum } from "./shape.ts";
export type { Dim, Shape } from "./shape.ts";
export { serializeModel } from "./serialize.ts";
export { evaluate } from "./evaluate/index.ts";
export type { EvaluateFeed } from "./evaluate/index.ts";
export type { Dense } from "./evaluate/dense.ts";
export { operators } from "./ops/index.ts";
export type { OpAttributes, OpName } from "./ops/index.ts";
export type { ElementwiseAttributes } from "./ops/elementwise.ts";
export type { LinalgAttributes } from "./ops/linalg.ts";
export type { MovementAttributes } from "./ops/movement.ts";
export type { ReductionAttributes } from "./ops/reduction.ts";
export type { TransformerAttributes } from "./ops/transformer.ts";
export { reducedAxes } from "./ops/reduction.ts";
export {
  abs,
  add,
  and,
  argMax,
  cast,
  clip,
  concat,
  constantLike,
  cumSum,
  div,
  equal,
  exp,
  expand,
  expandLike,
  fusedMatMul,
  gather,
  gatherElements,
  greater,
  greaterOrEqual,
  identity,
  isNaN,
  less,
  lessOrEqual,
  log,
  logSoftmax,
  matMul,
  matMulAdd,
  max,
  min,
  mul,
  neg,
  not,
  or,
  pow,
  reciprocal,
  reduceMax,
  reduceMean,
  reduceSum,
  reduceSumSquare,
  reshape,
  scatterAdd,
  shapeOf,
  sigmoid,
  silu,
  slice,
  softmax,
  softplus,
  split,
  sqrt,
  squeeze,
  sub,
  tanh,
  transpose,
  unsqueeze,
  vector,
  where,
  zerosLike,
} from "./build.ts";
