/**
 * From the gradients of the lanes to the next weights, stretch by stretch, in place. The norm of all gradients is known before
 * anything is written: a norm that is not finite leaves every parameter and moment as it was (W3), and it is the barrier that
 * makes writing outputs over inputs safe.
 */
import { ADAMW_FACTORS, adamwFactors, adamwGraph } from "@oarlock/nn";
import { add, createGraph, reduceSumSquare, serializeModel, type Value } from "@oarlock/onnx";
import type { OrtBinding, OrtRuntime, OrtSession, OrtTensor } from "@oarlock/ort";
import type { Lane } from "./lanes.ts";
import type { FlatState } from "./state.ts";
import type { OptimizerSettings } from "./types.ts";

/** Floats of a stretch: four arrays and the temporaries stay in the second-level cache. */
const STRETCH = 65_536;

export interface Optimizer {
  /** Adds the gradients of the first `used` lanes into lane 0, in order, and returns √Σg². */
  combine(used: number): number;
  /** One update with the gradients in lane 0; `step` counts from 1. */
  apply(settings: OptimizerSettings, step: number, gradientNorm: number): void;
  close(): Promise<void>;
}

export interface OptimizerParts {
  readonly state: FlatState;
  readonly lanes: readonly Lane[];
  readonly threads: number;
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
  const combiners = await Promise.all(
    lanes.map((_, i) => ort.createSession(combineModel(i + 1), { threads })),
  );
  const factorsOf = (): Factors =>
    Object.fromEntries(ADAMW_FACTORS.map((name) => [name, ort.tensor("float32", [])]));
  const factors = { decayed: factorsOf(), plain: factorsOf() };
  const sumOfSquares = ort.tensor("float32", []);
  const stretches = stretchesOf(state);
  const over = (flat: Float32Array, { start, end }: Stretch): OrtTensor =>
    ort.tensor("float32", [end - start], flat.subarray(start, end));
  const combinations = combiners.map((session, i) => ({
    session,
    bindings: stretches.map((stretch) => {
      const tensors = lanes.slice(0, i + 1).map(({ flat }) => over(flat, stretch));
      const inputs = Object.fromEntries(tensors.map((tensor, lane) => [`lane${lane}`, tensor]));
      const [total] = tensors;
      return session.bind(inputs, { sumOfSquares, ...(i > 0 && total !== undefined ? { total } : {}) });
    }),
  }));
  const updates = stretches.map((stretch): OrtBinding => {
    const [weights, first, second] = [
      over(state.weights, stretch),
      over(state.first, stretch),
      over(state.second, stretch),
    ];
    const inputs = { weights, gradients: over(state.gradients, stretch), first, second };
    const outputs = { weightsNext: weights, firstNext: first, secondNext: second };
    return adamw.bind({ ...inputs, ...(stretch.decayed ? factors.decayed : factors.plain) }, outputs);
  });
  return {
    combine(used) {
      const chosen = combinations[used - 1];
      let total = 0;
      for (const binding of chosen?.bindings ?? []) {
        chosen?.session.runSync(binding);
        total += Number(sumOfSquares.data[0]);
      }
      return Math.sqrt(total);
    },
    apply(settings, step, gradientNorm) {
      const {
        learningRate,
        beta1 = 0.9,
        beta2 = 0.999,
        epsilon = 1e-8,
        weightDecay = 0,
        maxGradNorm = 0,
      } = settings;
      const common = { learningRate, beta1, beta2, epsilon, maxGradNorm };
      write(factors.decayed, { ...adamwFactors({ ...common, weightDecay }, step, gradientNorm) });
      write(factors.plain, { ...adamwFactors({ ...common, weightDecay: 0 }, step, gradientNorm) });
      for (const update of updates) adamw.runSync(update);
    },
    close: () => closeAll([adamw, ...combiners]),
  };
}

async function closeAll(sessions: readonly OrtSession[]): Promise<void> {
  await Promise.all(sessions.map((session) => session.close()));
}

function write(tensors: Factors, values: Readonly<Record<string, number>>): void {
  for (const [name, tensor] of Object.entries(tensors)) (tensor.data as Float32Array)[0] = values[name] ?? 0; // made as float32 above
}

interface Stretch {
  readonly start: number;
  readonly end: number;
  readonly decayed: boolean;
}

/** Pieces of the flat arrays that do not cross the boundary of weight decay. */
function stretchesOf({ layout }: FlatState): Stretch[] {
  const found: Stretch[] = [];
  for (let start = 0; start < layout.length;) {
    const decayed = start < layout.decayLength;
    const end = Math.min(start + STRETCH, decayed ? layout.decayLength : layout.length);
    found.push({ start, end, decayed });
    start = end;
  }
  return found;
}
