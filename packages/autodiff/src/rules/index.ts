/** The rules of all operators. An operator without one does not compile. */
import type { OpAttributes, OpName } from "@oarlock/onnx";
import type { Rule } from "../rule.ts";
import { elementwise } from "./elementwise.ts";
import { linalg } from "./linalg.ts";
import { movement } from "./movement.ts";
import { reduction } from "./reduction.ts";
import { transformer } from "./transformer.ts";

export const rules: { readonly [Op in OpName]: Rule<OpAttributes[Op]> } = {
  ...elementwise,
  ...linalg,
  ...movement,
  ...reduction,
  ...transformer,
};
