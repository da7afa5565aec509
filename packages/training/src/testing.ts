/** For tests: a small model, and the whole state of a trainer at once. */
import type { LlamaConfig } from "@oarlock/nn";
import type { TrainerCore } from "./core.ts";
import type { StateArray, TrainerState } from "./types.ts";

/** Grouped queries and tied embeddings; a test changes what it is about. */
export const SMALL_LLAMA: LlamaConfig = {
  vocabSize: 29,
  hiddenSize: 16,
  intermediateSize: 40,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headSize: 4,
  ropeTheta: 10_000,
  ropeConvention: "half-split",
  rmsNormEps: 1e-5,
  maxPositions: 64,
  tiedEmbeddings: true,
  qkvBias: false,
  qkNorm: false,
};

export function stateOf(core: TrainerCore): TrainerState {
  const { arrays, elements, ...steps } = core.stateFacts();
  const copy = (name: StateArray): Float32Array => {
    const into = new Float32Array(elements);
    core.copyState(name, into);
    return into;
  };
  return {
    weights: copy("weights"),
    firstMoments: copy("firstMoments"),
    secondMoments: copy("secondMoments"),
    ...(arrays.includes("reference") ? { reference: copy("reference") } : {}),
    ...steps,
  };
}
