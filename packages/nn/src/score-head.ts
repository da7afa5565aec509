/**
 * The same network with another head: from a policy to a reward model or a critic that starts where the policy stands, and
 * from a reward model to the critic that is trained against it.
 */
import { OarlockError } from "@oarlock/errors";
import type { LlamaConfig, LlamaHead } from "./config.ts";
import { type ParameterLayout, parameterLayout } from "./layout.ts";

/** The configuration of the model that gives each token one score instead of logits. */
export function withScoreHead(config: LlamaConfig): LlamaConfig {
  return { ...config, head: "score" };
}

export interface ModelWeights {
  readonly config: LlamaConfig;
  /** Flat, in the layout of `config`. */
  readonly weights: Float32Array;
}

/**
 * The weights of `withScoreHead(config)`, with everything that `from` has of it. A head that `from` lacks begins at zero: the
 * score of every text is 0 until training has something to say. Throws `NN_WEIGHTS` where the two are not of one trunk.
 */
export function scoreWeights(from: ModelWeights): Float32Array<ArrayBuffer> {
  return weightsWithHead(from, "score");
}

/** As `scoreWeights`, for any head: from a policy to one with a value head on its trunk, and back. */
export function weightsWithHead(from: ModelWeights, head: LlamaHead): Float32Array<ArrayBuffer> {
  const [source, target] = [parameterLayout(from.config), parameterLayout({ ...from.config, head })];
  const flat = new Float32Array(target.length);
  const places = new Map(source.parameters.map((parameter) => [parameter.name, parameter]));
  checkLength(source, from.weights);
  for (const { name, offset, size } of target.parameters) {
    const place = places.get(name);
    if (place !== undefined) flat.set(from.weights.subarray(place.offset, place.offset + size), offset);
  }
  return flat;
}

function checkLength({ length }: ParameterLayout, weights: Float32Array): void {
  if (weights.length === length) return;
  throw new OarlockError("NN_WEIGHTS", `${weights.length} weights; this configuration has ${length}`);
}
