/**
 * From the gradients of the lanes to the next weights, stretch by stretch, in place. The norm of all gradients is known before
 * anything is written: a norm that is not finite leaves every parameter and moment as it was (W3), and it is the barrier that
 * makes writing outputs over inputs safe.
 */
import { ADAMW_FACTORS, adamwFactors, adamwGraph, type LlamaHead, type ParameterLayout } from "@oarlock/nn";
import { add, createGraph, reduceSumSquare, serializeModel, type Value } from "@oarlock/onnx";
import type { OrtBinding, OrtRuntime, OrtSession, OrtTensor } from "@oarlock/ort";
import type { Lane } from "./lanes.ts";
import { disposeAll, type FlatState } from "./state.ts";
import type { OptimizerSettings } from "./types.ts";

/** Floats of a stretch: four arrays and the temporaries stay in a processor's second-level cache; a card is kept busy. */
const STRETCH = { processor: 65_536, card: 2 ** 26 } as const;

export interface Optimizer {
  /** Adds the gradients of the lanes into lane 0, in order, and returns √Σg². */
  combine(part: TrainedPart): number;
  /** One update with the gradients in lane 0. */
  apply(settings: OptimizerSettings, update: Update): void;
  close(): Promise<void>;
}

/** `head`: the value head on a policy's trunk, alone. */
export type TrainedPart = "all" | "head";

export interface Update {
  readonly part: TrainedPart;
  readonly gradientNorm: number;
  /** Which update it is, from 1: of everything below the value head, and of the head, which may have had more. */
  readonly step: number;
  readonly headStep: number;
}

export interface OptimizerParts {
  readonly state: FlatState;
  readonly lanes: readonly Lane[];
  readonly threads: number;
  /** What the model gives. Default: logits. */
  readonly head?: LlamaHead | undefined;
}

type Factors = Readonly<Record<string, OrtTensor>>;

/** total = g0 + g1 + … (written over g0) and Σ total². */
function combineModel(lanes: number): Uint8Array {
  const graph = createGraph(`combine-${lanes}`);
  const parts = Array.from({ length: lanes }, (_, i) => graph.input(`lane${i}`, "float32", ["elements"]));
  const total = parts.reduce((sum: Value, part) => add(sum, part));
  if (lanes > 1) graph.output("total", total);
  graph.output("sumOfSquares", reduceSumSquare(total));
  return serializeModel(graph);
}

export async function createOptimizer(ort: OrtRuntime, parts: OptimizerParts): Promise<Optimizer> {
  const { state, lanes, threads } = parts;
  const adamw = await ort.createSession(serializeModel(adamwGraph()), { threads });
  const combiner = await ort.createSession(combineModel(lanes.length), { threads });
  const factors = { decayed: factorsOf(ort), plain: factorsOf(ort), head: factorsOf(ort) };
  const sumOfSquares = ort.tensor("float32", []);
  const regions = regionsOf(state.layout, parts.head === "both");
  const bindings: OrtBinding[] = [];
  const bind = (...[session, ...call]: [OrtSession, ...Parameters<OrtSession["bind"]>]): OrtBinding => {
    const binding = session.bind(...call);
    bindings.push(binding);
    return binding;
  };
  const over = (flat: OrtTensor, { start, end }: Stretch): OrtTensor => ort.view(flat, start, [end - start]);
  const stretchesOf = (of: readonly Stretch[]): Stretch[] =>
    cut(of, STRETCH[ort.provider === "cpu" ? "processor" : "card"]);
  const combinationOf = (stretch: Stretch): OrtBinding => {
    const tensors = lanes.map(({ flat }) => over(flat, stretch));
    const inputs = Object.fromEntries(tensors.map((tensor, lane) => [`lane${lane}`, tensor]));
    const [total] = tensors;
    const isSummed = tensors.length > 1 && total !== undefined;
    return bind(combiner, inputs, { sumOfSquares, ...(isSummed ? { total } : {}) });
  };
  const combinations = {
    all: stretchesOf(regions.summed).map(combinationOf),
    head: stretchesOf(regions.head).map(combinationOf),
  };
  const updateOf = (stretch: Stretch): OrtBinding => {
    const [weights, first, second] = [
      over(state.weights, stretch),
      over(state.first, stretch),
      over(state.second, stretch),
    ];
    const inputs = { weights, gradients: over(state.gradients, stretch), first, second };
    const outputs = { weightsNext: weights, firstNext: first, secondNext: second };
    return bind(adamw, { ...inputs, ...factors[stretch.factors] }, outputs);
  };
  const updates = {
    trunk: stretchesOf(regions.trunk).map(updateOf),
    head: stretchesOf(regions.head).map(updateOf),
  };
  return {
    combine(part) {
      let total = 0;
      for (const binding of combinations[part]) {
        combiner.runSync(binding);
        total += Number(sumOfSquares.data[0]);
      }
      return Math.sqrt(total);
    },
    apply(settings, { part, gradientNorm, step, headStep }) {
      const {
        learningRate,
        beta1 = 0.9,
        beta2 = 0.999,
        epsilon = 1e-8,
        weightDecay = 0,
        maxGradNorm = 0,
      } = settings;
      const common = { learningRate, beta1, beta2, epsilon, maxGradNorm };
      write(factors.head, { ...adamwFactors({ ...common, weightDecay }, headStep, gradientNorm) });
      if (part === "all") {
        write(factors.decayed, { ...adamwFactors({ ...common, weightDecay }, step, gradientNorm) });
        write(factors.plain, { ...adamwFactors({ ...common, weightDecay: 0 }, step, gradientNorm) });
        for (const update of updates.trunk) adamw.runSync(update);
      }
      for (const update of updates.head) adamw.runSync(update);
    },
    async close() {
      release(bindings);
      disposeAll(...Object.values(factors)); // those of no stretch too
      await Promise.all([adamw.close(), combiner.close()]);
    },
  };
}

function release(bindings: readonly OrtBinding[]): void {
  for (const binding of bindings) {
    binding.dispose();
    disposeAll(binding.inputs, binding.outputs);
  }
}

function factorsOf(ort: OrtRuntime): Factors {
  return Object.fromEntries(ADAMW_FACTORS.map((name) => [name, ort.tensor("float32", [])]));
}

function write(tensors: Factors, values: Readonly<Record<string, number>>): void {
  for (const [name, tensor] of Object.entries(tensors)) (tensor.data as Float32Array)[0] = values[name] ?? 0; // made as float32 above
}

interface Stretch {
  readonly start: number;
  readonly end: number;
  /** Whose factors its elements are multiplied with. */
  readonly factors: "decayed" | "plain" | "head";
}

interface Regions {
  /** All of the arrays, as their squares are added up. */
  readonly summed: readonly Stretch[];
  /** As they are updated: a value head on a policy's trunk, which ends the matrices, may have had updates of its own. */
  readonly trunk: readonly Stretch[];
  readonly head: readonly Stretch[];
}

function regionsOf({ views, length, decayLength }: ParameterLayout, hasValueHead: boolean): Regions {
  const head = (hasValueHead ? views.find(({ name }) => name === "score")?.offset : undefined) ?? decayLength;
  const plain = { start: decayLength, end: length, factors: "plain" } as const;
  return {
    summed: [{ start: 0, end: decayLength, factors: "decayed" }, plain],
    trunk: [{ start: 0, end: head, factors: "decayed" }, plain],
    head: [{ start: head, end: decayLength, factors: "head" }],
  };
}

/** Pieces of the regions, none of them larger than `size`. */
function cut(regions: readonly Stretch[], size: number): Stretch[] {
  return regions.flatMap(({ start, end, factors }) =>
    Array.from({ length: Math.ceil((end - start) / size) }, (_, i) => {
      const first = start + i * size;
      return { start: first, end: Math.min(first + size, end), factors };
    }),
  );
}
