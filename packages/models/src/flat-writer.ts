/** Fills the flat array of a model parameter by parameter, for formats that name and order them in their own way. */
import { OarlockError } from "@oarlock/errors";
import { type LlamaConfig, parameterLayout } from "@oarlock/nn";
import { flatArray } from "./model.ts";

export interface FlatWriter {
  readonly weights: Float32Array;
  /** The place of a parameter, by its Hugging Face name. Throws `MODEL_WEIGHTS` for a name that is none. */
  place(name: string): Float32Array;
}

/** An array for the parameters of `config`. */
export function flatWriter(config: LlamaConfig, shared?: boolean): FlatWriter {
  const { parameters, length } = parameterLayout(config);
  const places = new Map(parameters.map((parameter) => [parameter.name, parameter]));
  const weights = flatArray(length, shared);
  return {
    weights,
    place(name) {
      const found = places.get(name);
      if (found !== undefined) return weights.subarray(found.offset, found.offset + found.size);
      throw new OarlockError("MODEL_WEIGHTS", `the model has no parameter ${name}`);
    },
  };
}
