/** Run files for tests: a tiny model, and the stages that a test is about. */

/** `stages`: the lines below `stages:`, indented as list items of a spec. */
export const tinyRun = (stages: string): string => `
apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: sums }
spec:
  model:
    init: { hiddenSize: 16, intermediateSize: 32, layers: 1, heads: 2, maxPositions: 16,
            tokenizer: { type: characters, characters: { alphabet: "0123456789+=" } } }
  stages:
${stages}`;
