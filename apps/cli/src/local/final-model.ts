/** The trained policy as a model folder. */
import type { InitialModel } from "./model.ts";

/** Writes the policy; gives where it lies. */
export async function saveFinal(
  _model: InitialModel,
  _weights: Float32Array,
  _outDir: string,
): Promise<{ readonly model?: string }> {
  return {};
}
