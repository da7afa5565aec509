/** Dimensions of a model: what an `init` block means, how many parameters that is. Knows no weights. */
import type { ModelShape, ResolvedModelInit } from "../resolved.ts";

/** The shape of a new model once its tokenizer has said how many tokens there are. */
export function initShape(init: ResolvedModelInit, vocabSize: number): ModelShape {
  return {
    vocabSize,
    hiddenSize: init.hiddenSize,
    intermediateSize: init.intermediateSize,
    layers: init.layers,
    heads: init.heads,
    kvHeads: init.kvHeads,
    headSize: init.headSize,
    ropeTheta: init.ropeTheta,
    ropeConvention: init.ropeConvention,
    rmsNormEps: init.rmsNormEps,
    maxPositions: init.maxPositions,
    tiedEmbeddings: init.tiedEmbeddings,
    qkvBias: init.qkvBias,
    qkNorm: init.qkNorm,
  };
}

/** Trainable parameters of a Llama-family model. stories260K: 260,032. */
export function parameterCount(shape: ModelShape): number {
  const { hiddenSize: d, intermediateSize: f, headSize, vocabSize } = shape;
  const queries = shape.heads * headSize;
  const keys = shape.kvHeads * headSize;
  const attention = d * queries + 2 * d * keys + queries * d;
  const extras = (shape.qkvBias ? queries + 2 * keys : 0) + (shape.qkNorm ? 2 * headSize : 0);
  const block = 2 * d + attention + extras + 3 * d * f;
  const embeddings = vocabSize * d * (shape.tiedEmbeddings ? 1 : 2);
  return embeddings + shape.layers * block + d;
}
