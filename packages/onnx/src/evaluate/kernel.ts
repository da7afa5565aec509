/** What the reference evaluator needs of one operator: its results from its inputs, in float64. */
import { OarlockError } from "@oarlock/errors";
import type { Dense } from "./dense.ts";

/** The inputs of one node, in the operator's order. */
export type Operands = readonly (Dense | undefined)[];

export type Kernel<Attributes> = (inputs: Operands, attributes: Attributes) => readonly Dense[];

/** The input at `index`, which must be there. */
export function operand(inputs: Operands, index: number): Dense {
  const dense = inputs[index];
  if (!dense) throw new OarlockError("ONNX_EVALUATE", `input ${index} is missing`);
  return dense;
}

/** The elements of an input that holds integers: axes, sizes, shapes. */
export function integersOf(inputs: Operands, index: number): number[] {
  return [...operand(inputs, index).data];
}

/** For operators that only generation uses: the reference is the model's own logits, compared from outside. */
export function notEvaluated(op: string): Kernel<unknown> {
  return () => {
    throw new OarlockError("ONNX_EVALUATE", `${op} has no reference kernel: it is used by generation only`);
  };
}
