/** Operators that work element by element, with NumPy broadcasting. */
import type { DType } from "@oarlock/tensor";
import {
  broadcastAll,
  expectDType,
  expectSameDType,
  type Inference,
  type NoAttributes,
  type OpDefinition,
  required,
} from "./definition.ts";

export interface ElementwiseAttributes {
  Neg: NoAttributes;
  Exp: NoAttributes;
  Log: NoAttributes;
  Sqrt: NoAttributes;
  Reciprocal: NoAttributes;
  Sigmoid: NoAttributes;
  Tanh: NoAttributes;
  Abs: NoAttributes;
  Sin: NoAttributes;
  Cos: NoAttributes;
  Softplus: NoAttributes;
  Identity: NoAttributes;
  /** x · sigmoid(alpha · x); alpha 1 is SiLU in one kernel. */
  QuickGelu: { readonly alpha: number };
  Add: NoAttributes;
  Sub: NoAttributes;
  Mul: NoAttributes;
  Div: NoAttributes;
  Pow: NoAttributes;
  Max: NoAttributes;
  Min: NoAttributes;
  Greater: NoAttributes;
  GreaterOrEqual: NoAttributes;
  Less: NoAttributes;
  LessOrEqual: NoAttributes;
  Equal: NoAttributes;
  And: NoAttributes;
  Or: NoAttributes;
  Not: NoAttributes;
  IsNaN: NoAttributes;
  IsInf: NoAttributes;
  Where: NoAttributes;
  /** Inputs: x, lowest, highest (scalars, each may be left out). */
  Clip: NoAttributes;
  Cast: { readonly to: DType };
}

const numeric: readonly DType[] = ["float32", "float64", "int64", "int32"];
const floating: readonly DType[] = ["float32", "float64"];

const unary = (accepted: readonly DType[], domain: "" | "com.microsoft" = ""): OpDefinition<unknown> => ({
  domain,
  infer(node) {
    const x = required(node, 0);
    expectDType(node, x, ...accepted);
    return [{ dtype: x.dtype, shape: x.shape }];
  },
});

const pair = (node: Inference<unknown>) => [required(node, 0), required(node, 1)] as const;

const binary: OpDefinition<unknown> = {
  domain: "",
  infer(node) {
    const values = pair(node);
    const dtype = expectSameDType(node, values);
    expectDType(node, values[0], ...numeric);
    return [{ dtype, shape: broadcastAll(node, values) }];
  },
};

const comparison: OpDefinition<unknown> = {
  domain: "",
  infer(node) {
    const values = pair(node);
    expectSameDType(node, values);
    return [{ dtype: "bool", shape: broadcastAll(node, values) }];
  },
};

const logical: OpDefinition<unknown> = {
  domain: "",
  infer(node) {
    const values = pair(node);
    for (const value of values) expectDType(node, value, "bool");
    return [{ dtype: "bool", shape: broadcastAll(node, values) }];
  },
};

const test: OpDefinition<unknown> = {
  domain: "",
  infer(node) {
    const x = required(node, 0);
    expectDType(node, x, ...floating);
    return [{ dtype: "bool", shape: x.shape }];
  },
};

export const elementwise: {
  readonly [Op in keyof ElementwiseAttributes]: OpDefinition<ElementwiseAttributes[Op]>;
} = {
  Neg: unary(numeric),
  Exp: unary(floating),
  Log: unary(floating),
  Sqrt: unary(floating),
  Reciprocal: unary(floating),
  Sigmoid: unary(floating),
  Tanh: unary(floating),
  Abs: unary(numeric),
  Sin: unary(floating),
  Cos: unary(floating),
  Softplus: unary(floating),
  Identity: unary([...numeric, "bool", "uint8", "int8"]),
  QuickGelu: unary(floating, "com.microsoft"),
  Add: binary,
  Sub: binary,
  Mul: binary,
  Div: binary,
  Pow: binary,
  Max: binary,
  Min: binary,
  Greater: comparison,
  GreaterOrEqual: comparison,
  Less: comparison,
  LessOrEqual: comparison,
  Equal: comparison,
  And: logical,
  Or: logical,
  Not: unary(["bool"]),
  IsNaN: test,
  IsInf: test,
  Where: {
    domain: "",
    infer(node) {
      const [condition, yes, no] = [required(node, 0), required(node, 1), required(node, 2)];
      expectDType(node, condition, "bool");
      return [{ dtype: expectSameDType(node, [yes, no]), shape: broadcastAll(node, [condition, yes, no]) }];
    },
  },
  Clip: {
    domain: "",
    infer(node) {
      const x = required(node, 0);
      for (const bound of [node.inputs[1], node.inputs[2]]) {
        if (bound && (bound.dtype !== x.dtype || bound.shape.length > 0))
          node.fail("a bound must be a scalar of x's type");
      }
      return [{ dtype: x.dtype, shape: x.shape }];
    },
  },
  Cast: {
    domain: "",
    infer(node) {
      return [{ dtype: node.attributes.to, shape: required(node, 0).shape }];
    },
  },
};
