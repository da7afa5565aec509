/**
 * The yardstick of every gradient: (f(x + h) − f(x − h)) / 2h, evaluated in float64. For tests of rules and of models;
 * it knows no rule.
 */
import { type EvaluateFeed, evaluate, type Graph } from "@oarlock/onnx";

/** Near the optimum for float64: truncation h² and rounding 1e-16/h are both about 1e-10. */
const STEP = 1e-5;

export interface DifferenceOptions {
  /** The scalar output to differentiate. */
  readonly loss: string;
  /** The input to vary. */
  readonly input: string;
  readonly feeds: Readonly<Record<string, EvaluateFeed>>;
}

/** d loss / d input by central differences, in the input's order. Costs two evaluations an element. */
export function centralDifferences(graph: Graph, { loss, input, feeds }: DifferenceOptions): Float64Array {
  const base = Float64Array.from(feeds[input]?.data ?? [], Number);
  const at = (index: number, offset: number): number => {
    const data = Float64Array.from(base);
    data[index] = (base[index] ?? 0) + offset;
    const shape = feeds[input]?.shape ?? [];
    return evaluate(graph, { ...feeds, [input]: { shape, data } }, [loss])[loss]?.data[0] ?? Number.NaN;
  };
  return base.map((_, index) => (at(index, STEP) - at(index, -STEP)) / (2 * STEP));
}

/** ‖actual − expected‖ / ‖expected‖, against at least 1e-3. */
export function relativeGap(actual: Float64Array, expected: Float64Array): number {
  const gap = Math.hypot(...expected.map((value, i) => value - (actual[i] ?? Number.NaN)));
  return gap / Math.max(1e-3, Math.hypot(...expected));
}
