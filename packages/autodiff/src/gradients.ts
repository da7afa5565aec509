/**
 * Reverse-mode differentiation: walks a graph backwards from a scalar and adds the nodes of its gradients.
 *
 * Only nodes on a path from a wanted value to the loss are visited, and only the gradients that somebody needs are
 * made. Knows no operator: the rules do.
 */
import { OarlockError } from "@oarlock/errors";
import {
  add,
  constantLike,
  type GraphNode,
  type OpName,
  sameShape,
  showShape,
  type Value,
  zerosLike,
} from "@oarlock/onnx";
import { isFloating } from "@oarlock/tensor";
import { type CustomGradient, customGradients } from "./custom.ts";
import { fullShape, type Maker, type Rule, type Step } from "./rule.ts";
import { rules } from "./rules/index.ts";

/**
 * d loss / d value for each of `wrt`, in the shape of that value, as new nodes of the loss's graph. Zeros where the
 * loss does not depend on it. Throws `AUTODIFF_LOSS` where the loss is no floating scalar, `AUTODIFF_RULE` where it
 * depends on a value through an operator that has no gradient, or in half precision.
 *
 * With `onto`, one for each of `wrt` and of its shape, the gradient is added to it. The values must then be inputs of the graph:
 * nothing is passed on from them.
 */
export function gradients(loss: Value, wrt: readonly Value[], onto: readonly Value[] = []): Value[] {
  if (loss.shape.length > 0 || !isReal(loss)) {
    throw new OarlockError(
      "AUTODIFF_LOSS",
      `${loss.name} is ${loss.dtype}${showShape(loss.shape)}, not a floating scalar`,
    );
  }
  const walk = new Walk(loss, wrt, onto);
  walk.run();
  return wrt.map((value) => walk.result(value));
}

class Walk {
  readonly #gradients = new Map<Value, Value>();
  /** The values that some wanted value flows into. */
  readonly #dependent: Set<Value>;
  readonly #nodes: readonly GraphNode[];
  readonly #customByFirst = new Map<Value, CustomGradient>();
  readonly #customOutputs = new Set<Value>();
  readonly #wanted: ReadonlySet<Value>;

  constructor(loss: Value, wrt: readonly Value[], onto: readonly Value[]) {
    this.#nodes = [...loss.graph.nodes];
    this.#wanted = new Set(wrt);
    this.#dependent = new Set(wrt);
    for (const node of this.#nodes) {
      if (node.inputs.some((value) => value && this.#dependent.has(value))) {
        for (const output of node.outputs) this.#dependent.add(output);
      }
    }
    for (const custom of customGradients(loss.graph)) {
      const first = this.#nodes
        .flatMap((node) => node.outputs)
        .find((value) => custom.outputs.includes(value));
      if (first) this.#customByFirst.set(first, custom);
      for (const output of custom.outputs) this.#customOutputs.add(output);
    }
    this.#gradients.set(loss, constantLike(loss, 1));
    wrt.forEach((value, i) => {
      const known = onto[i];
      if (known) this.#startFrom(value, known);
    });
  }

  #startFrom(value: Value, known: Value): void {
    if (value.producer || !sameShape(known.shape, value.shape)) {
      throw new OarlockError(
        "AUTODIFF_ONTO",
        `${known.name}${showShape(known.shape)} to start from is for an input of that shape, not for ${value.name}${showShape(value.shape)}`,
      );
    }
    this.#gradients.set(value, known);
  }

  run(): void {
    for (const node of this.#nodes.toReversed()) {
      for (const output of node.outputs) {
        const custom = this.#customByFirst.get(output);
        if (custom) this.#passCustom(custom);
      }
      if (!node.outputs.some((output) => this.#customOutputs.has(output))) this.#passNode(node);
    }
  }

  result(value: Value): Value {
    const found = this.#gradients.get(value);
    return found ? fullShape(found, value) : zerosLike(value);
  }

  /** The gradient of a value that every consumer has added to; freed unless it is an answer. */
  #take(value: Value): Value | undefined {
    const found = this.#gradients.get(value);
    if (found && !this.#wanted.has(value)) this.#gradients.delete(value);
    return found;
  }

  #passCustom({ outputs, inputs, derive }: CustomGradient): void {
    const upstream = outputs.map((output) => {
      const found = this.#take(output);
      return found && fullShape(found, output);
    });
    if (upstream.some((value) => value)) this.#hand(inputs, derive(upstream));
  }

  #passNode(node: GraphNode): void {
    const upstream = node.outputs.map((output) => this.#take(output));
    if (upstream.every((value) => value === undefined)) return;
    if (!node.inputs.some((value) => value && this.#dependent.has(value))) return;
    const rule: Rule<never> = rules[node.op];
    if (rule.kind === "flat") return;
    if (rule.kind === "refused") throw new OarlockError("AUTODIFF_RULE", `${node.name}: ${rule.reason}`);
    // The table pairs each rule with its operator's attributes; a node of unknown operator has lost that pairing.
    const step: Step<never> = { ...stepOf(node, upstream), attributes: node.attributes as never };
    this.#hand(node.inputs, rule.derive(step), node.name);
  }

  #hand(inputs: readonly (Value | undefined)[], makers: readonly Maker[], name = "custom gradient"): void {
    inputs.forEach((input, i) => {
      if (!input || !this.#dependent.has(input) || !isFloating(input.dtype)) return;
      const refuse = (why: string): OarlockError =>
        new OarlockError("AUTODIFF_RULE", `${name}: input ${i} (${input.name}) ${why}`);
      if (!isReal(input)) throw refuse(`is ${input.dtype}; gradients are of float32 and float64`);
      const make = makers[i];
      if (!make) throw refuse("has no gradient");
      this.#gradients.set(input, sum(this.#gradients.get(input), make, input));
    });
  }
}

/** What is known of a value's gradient, and one more part of it. */
function sum(known: Value | undefined, make: Maker, value: Value): Value {
  if (!known) return make();
  return make.onto ? make.onto(fullShape(known, value)) : add(known, make());
}

/** Of a type that rules compute in. */
const isReal = (value: Value): boolean => value.dtype === "float32" || value.dtype === "float64";

function stepOf(
  node: GraphNode<OpName>,
  upstream: readonly (Value | undefined)[],
): Omit<Step<never>, "attributes"> {
  const full = (i: number): Value | undefined => {
    const [thin, output] = [upstream[i], node.outputs[i]];
    return thin && output && fullShape(thin, output);
  };
  const need = (value: Value | undefined, what: string): Value => {
    if (!value) throw new OarlockError("AUTODIFF_RULE", `${node.name}: ${what} is missing`);
    return value;
  };
  const [first, output] = [upstream[0], node.outputs[0]];
  return {
    op: node.op,
    outputs: node.outputs,
    inputCount: node.inputs.length,
    input: (index) => need(node.inputs[index], `input ${index}`),
    given: (index) => node.inputs[index],
    gradient: full,
    dy: () => full(0) ?? zerosLike(need(output, "the result")),
    thinDy: () => first ?? zerosLike(need(output, "the result")),
  };
}
