/** The model that runs of tests train: made from the seed, two layers of width 32, on the characters of sums. */
export const tinyModelSpec = (maxPositions: number): object => ({
  init: {
    hiddenSize: 32,
    intermediateSize: 64,
    layers: 2,
    heads: 2,
    maxPositions,
    tokenizer: { type: "characters", characters: { alphabet: "0123456789+=" } },
  },
});

/** As `spec.model` of a run file, in one line of YAML. */
export const tinyModel = (maxPositions: number): string => JSON.stringify(tinyModelSpec(maxPositions));
