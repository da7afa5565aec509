/**
 * AdamW (arXiv:1711.05101) over stretches of the flat arrays: two graphs, and the same arithmetic in float64.
 *
 * `gradientNorm` first reads all gradients; only if its answer is finite is `adamw` run (W3: the old state is kept by
 * not writing it). Then `adamw` goes over the arrays stretch by stretch, each small enough for the cache. Every
 * element of the state is read before it is written, so outputs may be bound over their inputs.
 */
import {
  add,
  createGraph,
  div,
  type Graph,
  mul,
  reduceSumSquare,
  sqrt,
  sub,
  type Value,
} from "@oarlock/onnx";

export interface AdamwSettings {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Decoupled: the weight shrinks by learningRate · weightDecay. 0 for stretches that are not decayed. */
  readonly weightDecay: number;
  /** Gradients are scaled down to this global norm; Infinity or 0: never. */
  readonly maxGradNorm: number;
}

/** What a step multiplies with; see `adamwFactors`. */
export interface AdamwFactors {
  readonly keepWeight: number;
  readonly keepFirst: number;
  readonly gradient: number;
  readonly keepSecond: number;
  readonly square: number;
  readonly rate: number;
  readonly epsilon: number;
}

/**
 * The step's numbers, in float64: the clip scale, both bias corrections and the decay are folded into them. `step`
 * counts from 1. `gradientNorm` is the global norm √Σg².
 */
export function adamwFactors(settings: AdamwSettings, step: number, gradientNorm: number): AdamwFactors {
  const { learningRate, beta1, beta2, epsilon, weightDecay } = settings;
  const scale = clipScale(settings.maxGradNorm, gradientNorm);
  const second = Math.sqrt(1 - beta2 ** step);
  return {
    keepWeight: 1 - learningRate * weightDecay,
    keepFirst: beta1,
    gradient: (1 - beta1) * scale,
    keepSecond: beta2,
    square: (1 - beta2) * scale * scale,
    // lr · m̂ / (√v̂ + ε) = (lr · √c₂/c₁) · m / (√v + ε·√c₂), with c = 1 − βᵗ.
    rate: (learningRate * second) / (1 - beta1 ** step),
    epsilon: epsilon * second,
  };
}

/** min(1, max / (norm + 1e-6)), as PyTorch's clip_grad_norm_. */
export function clipScale(maxGradNorm: number, gradientNorm: number): number {
  if (maxGradNorm === 0 || !Number.isFinite(maxGradNorm)) return 1;
  return Math.min(1, maxGradNorm / (gradientNorm + 1e-6));
}

/** The names of `adamwGraph`'s scalar inputs, float32 [], in the order of `AdamwFactors`. */
export const ADAMW_FACTORS: readonly (keyof AdamwFactors)[] = [
  "keepWeight",
  "keepFirst",
  "gradient",
  "keepSecond",
  "square",
  "rate",
  "epsilon",
];

/**
 * Inputs: weights, gradients, first, second: float32 [elements]; the scalars of `ADAMW_FACTORS`.
 * Outputs: weightsNext, firstNext, secondNext.
 */
export function adamwGraph(): Graph {
  const graph = createGraph("adamw");
  const stretch = (name: string): Value => graph.input(name, "float32", ["elements"]);
  const [w, g, m, v] = [stretch("weights"), stretch("gradients"), stretch("first"), stretch("second")];
  const factor = (name: keyof AdamwFactors): Value => graph.input(name, "float32", []);
  const first = add(mul(m, factor("keepFirst")), mul(g, factor("gradient")));
  const second = add(mul(v, factor("keepSecond")), mul(mul(g, g), factor("square")));
  const step = mul(div(first, add(sqrt(second), factor("epsilon"))), factor("rate"));
  graph.output("weightsNext", sub(mul(w, factor("keepWeight")), step));
  graph.output("firstNext", first);
  graph.output("secondNext", second);
  return graph;
}

/** Σ g² of a stretch. Input: gradients float32 [elements]. Output: sumOfSquares float32 []. */
export function sumOfSquaresGraph(): Graph {
  const graph = createGraph("sum-of-squares");
  const gradients = graph.input("gradients", "float32", ["elements"]);
  graph.output("sumOfSquares", reduceSumSquare(gradients));
  return graph;
}

export interface AdamwState {
  readonly weights: Float64Array;
  readonly first: Float64Array;
  readonly second: Float64Array;
}

/** One step in float64: what the graph is held against. */
export function adamwReference(
  state: AdamwState,
  gradients: ArrayLike<number>,
  factors: AdamwFactors,
): AdamwState {
  const { keepWeight, keepFirst, gradient, keepSecond, square, rate, epsilon } = factors;
  const first = state.first.map((m, i) => keepFirst * m + gradient * (gradients[i] ?? 0));
  const second = state.second.map((v, i) => keepSecond * v + square * (gradients[i] ?? 0) ** 2);
  const weights = state.weights.map(
    (w, i) => keepWeight * w - (rate * (first[i] ?? 0)) / (Math.sqrt(second[i] ?? 0) + epsilon),
  );
  return { weights, first, second };
}
