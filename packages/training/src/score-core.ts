/** A reward model on the calling thread. It blocks while it computes; `createScoreModel` puts it into a worker thread. */
import { openFrozenModel } from "./frozen-model.ts";
import { isTrained } from "./packing.ts";
import { sequenceRow } from "./sequence-row.ts";
import type { ScoreModelOptions, ScorePlaces } from "./score-model.ts";

export interface ScoreCore {
  /** The score at the last token of each text, or those at its `places`, text by text. */
  score(texts: readonly Int32Array[], places?: ScorePlaces): Promise<Float32Array>;
  close(): Promise<void>;
}

export async function openScoreCore(options: ScoreModelOptions): Promise<ScoreCore> {
  const model = await openFrozenModel(options, ["score"]);
  return {
    async score(texts, places) {
      const scores: number[] = [];
      for (const [index, text] of texts.entries()) {
        const row = sequenceRow(text);
        const wanted = places?.[index] ?? [text.length - 1];
        // The score of what ends with a token stands where the token after it would be predicted.
        row.lossMask.fill(0);
        for (const place of wanted) row.lossMask[place + 1] = 1;
        const [found] = await model.forward([row], { temperature: 1, wanted: isTrained });
        for (const place of wanted) scores.push(found?.[place + 1] ?? Number.NaN);
      }
      return Float32Array.from(scores);
    },
    close: () => model.close(),
  };
}
