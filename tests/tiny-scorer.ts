/** A reward model that nobody trained: of one layer, on the characters of sums, another shape than that of tests' policies. */
import { saveModel } from "@oarlock/models";
import { initialWeights, withScoreHead } from "@oarlock/nn";
import { initialNormals } from "@oarlock/rl";
import { bytesOf, sha256Hex } from "@oarlock/runtime";
import { characterTokenizer, createTokenizer } from "@oarlock/tokenizer";

/** Writes it in Hugging Face layout; gives the digest of its weights. */
export async function writeTinyScorer(
  folder: string,
  { hiddenSize, seed }: { readonly hiddenSize: number; readonly seed: number },
): Promise<string> {
  const tokenizer = characterTokenizer({ alphabet: "0123456789+=" });
  const config = withScoreHead({
    vocabSize: createTokenizer(tokenizer).vocabSize,
    hiddenSize,
    intermediateSize: 2 * hiddenSize,
    layers: 1,
    heads: 2,
    kvHeads: 1,
    headSize: hiddenSize / 2,
    ropeTheta: 10_000,
    ropeConvention: "half-split",
    rmsNormEps: 1e-5,
    maxPositions: 32,
    tiedEmbeddings: false,
    qkvBias: false,
    qkNorm: false,
  });
  const weights = initialWeights(config, (count, index) => initialNormals(seed, index, count));
  await saveModel(folder, { config, weights, tokenizer, specials: { eosTokenIds: [] }, generation: {} });
  return sha256Hex(bytesOf(weights));
}
