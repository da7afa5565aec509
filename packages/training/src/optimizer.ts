/**
 * AdamW over the flat arrays, stretch by stretch, in place. The norm of all gradients is known before anything is written:
 * a norm that is not finite leaves every parameter and moment as it was (W3), and it is the barrier that makes writing
 * outputs over inputs safe.
 */
import { ADAMW_FACTORS, adamwFactors, adamwGraph, sumOfSquaresGraph } from "@oarlock/nn";
import { serializeModel } from "@oarlock/onnx";
import type { OrtBinding, OrtRuntime, OrtSession, OrtTensor } from "@oarlock/ort";
import type { FlatState } from "./state.ts";
import type { OptimizerSettings } from "./types.ts";

/** Floats of a stretch: four arrays and the temporaries stay in the second-level cache. */
const STRETCH = 32_768;

export interface Optimizer {
  /** √Σg² of the gradients as they lie there. */
  gradientNorm(): number;
  /** One update with the gradients as they lie there; `step` counts from 1. */
  apply(settings: OptimizerSettings, step: number, gradientNorm: number): void;
  close(): Promise<void>;
}

interface Stretch {
  readonly norm: OrtBinding;
  readonly update: OrtBinding;
  readonly decayed: boolean;
}

type Factors = Readonly<Record<string, OrtTensor>>;

export async function createOptimizer(ort: OrtRuntime, state: FlatState): Promise<Optimizer> {
  const [squares, adamw] = await Promise.all(
    [sumOfSquaresGraph(), adamwGraph()].map((graph) => ort.createSession(serializeModel(graph))),
  );
  if (squares === undefined || adamw === undefined) throw new TypeError("two graphs give two sessions");
  const factorsOf = (): Factors =>
    Object.fromEntries(ADAMW_FACTORS.map((name) => [name, ort.tensor("float32", [])]));
  const factors = { decayed: factorsOf(), plain: factorsOf() };
  const sumOfSquares = ort.tensor("float32", []);
  const stretches = stretchesOf(state).map(({ start, end, decayed }) =>
    bindStretch({
      ort,
      state,
      squares,
      adamw,
      sumOfSquares,
      start,
      end,
      factors: decayed ? factors.decayed : factors.plain,
      decayed,
    }),
  );
  return {
    gradientNorm() {
      let total = 0;
      for (const { norm } of stretches) {
        squares.runSync(norm);
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
      for (const { update } of stretches) adamw.runSync(update);
    },
    async close() {
      await Promise.all([squares.close(), adamw.close()]);
    },
  };
}

function write(tensors: Factors, values: Readonly<Record<string, number>>): void {
  for (const [name, tensor] of Object.entries(tensors)) (tensor.data as Float32Array)[0] = values[name] ?? 0; // made as float32 above
}

/** Pieces of the flat arrays that do not cross the boundary of weight decay. */
function stretchesOf({ layout }: FlatState): { start: number; end: number; decayed: boolean }[] {
  const found: { start: number; end: number; decayed: boolean }[] = [];
  for (let start = 0; start < layout.length;) {
    const decayed = start < layout.decayLength;
    const end = Math.min(start + STRETCH, decayed ? layout.decayLength : layout.length);
    found.push({ start, end, decayed });
    start = end;
  }
  return found;
}

interface StretchParts {
  readonly ort: OrtRuntime;
  readonly state: FlatState;
  readonly squares: OrtSession;
  readonly adamw: OrtSession;
  readonly sumOfSquares: OrtTensor;
  readonly factors: Factors;
  readonly start: number;
  readonly end: number;
  readonly decayed: boolean;
}

function bindStretch({
  ort,
  state,
  squares,
  adamw,
  sumOfSquares,
  factors,
  start,
  end,
  decayed,
}: StretchParts): Stretch {
  const over = (flat: Float32Array): OrtTensor =>
    ort.tensor("float32", [end - start], flat.subarray(start, end));
  const [weights, gradients, first, second] = [
    over(state.weights),
    over(state.gradients),
    over(state.first),
    over(state.second),
  ];
  return {
    norm: squares.bind({ gradients }, { sumOfSquares }),
    update: adamw.bind(
      { weights, gradients, first, second, ...factors },
      { weightsNext: weights, firstNext: first, secondNext: second },
    ),
    decayed,
  };
}
