/** The table of operators. Adding one here asks, by type, for its differentiation rule and its reference evaluation. */
import type { OpDefinition } from "./definition.ts";
import { elementwise, type ElementwiseAttributes } from "./elementwise.ts";
import { linalg, type LinalgAttributes } from "./linalg.ts";
import { movement, type MovementAttributes } from "./movement.ts";
import { reduction, type ReductionAttributes } from "./reduction.ts";
import { transformer, type TransformerAttributes } from "./transformer.ts";

/** The attributes of every operator, by its ONNX name. */
export interface OpAttributes
  extends
    ElementwiseAttributes,
    LinalgAttributes,
    MovementAttributes,
    ReductionAttributes,
    TransformerAttributes {}

/** Every operator that a graph may hold. */
export type OpName = keyof OpAttributes;

/** What each operator is: its attributes' defaults and its shape inference. Exhaustive by type. */
export const operators: { readonly [Op in OpName]: OpDefinition<OpAttributes[Op]> } = {
  ...elementwise,
  ...linalg,
  ...movement,
  ...reduction,
  ...transformer,
};
