/**
 * A new model's weights. Matrices are normal with deviation 1/√(inputs), so that activations keep their size at any
 * width; what writes into the residual stream is scaled down by √(2 · layers) (GPT-2), so that the stream does not grow
 * with depth. Norms begin at one, biases at zero.
 *
 * Where the normal numbers come from is the caller's business (D2: a counter-based generator).
 */
import type { LlamaConfig } from "./config.ts";
import { type Parameter, parameterLayout } from "./layout.ts";

/** `count` standard normal numbers for the parameter with this index in the layout. */
export type NormalSource = (count: number, parameterIndex: number) => ArrayLike<number>;

/** The flat array of a new model's weights. */
export function initialWeights(config: LlamaConfig, normals: NormalSource): Float32Array<ArrayBuffer> {
  const { parameters, length } = parameterLayout(config);
  const flat = new Float32Array(length);
  parameters.forEach((parameter, index) => {
    const target = flat.subarray(parameter.offset, parameter.offset + parameter.size);
    if (parameter.shape.length === 1) target.fill(parameter.name.endsWith(".bias") ? 0 : 1);
    else fillNormal(target, normals(parameter.size, index), deviation(parameter, config));
  });
  return flat;
}

function fillNormal(target: Float32Array, numbers: ArrayLike<number>, scale: number): void {
  for (let i = 0; i < target.length; i++) target[i] = (numbers[i] ?? 0) * scale;
}

function deviation({ name, shape }: Parameter, config: LlamaConfig): number {
  const inputs = shape[1] ?? 1;
  const intoStream = name.endsWith("o_proj.weight") || name.endsWith("down_proj.weight");
  return (intoStream ? 1 / Math.sqrt(2 * config.layers) : 1) / Math.sqrt(inputs);
}
