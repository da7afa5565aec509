/** A reward model on the calling thread. It blocks while it computes; `createScoreModel` puts it into a worker thread. */
import { OarlockError } from "@oarlock/errors";
import { parameterLayout } from "@oarlock/nn";
import { openOrt } from "@oarlock/ort";
import { checkRows, isTrained } from "./packing.ts";
import { forwardPass } from "./passes.ts";
import { sequenceRow } from "./sequence-row.ts";
import { createSessionCache } from "./sessions.ts";
import { disposeAll, resident, viewTensors } from "./state.ts";
import type { ScoreModelOptions, ScorePlaces } from "./score-model.ts";

export interface ScoreCore {
  /** The score at the last token of each text, or those at its `places`, text by text. */
  score(texts: readonly Int32Array[], places?: ScorePlaces): Promise<Float32Array>;
  close(): Promise<void>;
}

export async function openScoreCore({ config, weights, ort: engine }: ScoreModelOptions): Promise<ScoreCore> {
  const layout = parameterLayout(config);
  if (config.head !== "score" || weights.length !== layout.length) {
    throw new OarlockError(
      "TRAINING_STATE",
      `${weights.length} weights of a model that gives ${config.head ?? "logits"}; accepted: ${layout.length}, of one that gives scores`,
    );
  }
  const ort = await openOrt(engine);
  const sessions = createSessionCache(ort, config);
  const context = {
    ort,
    config,
    sessions,
    extents: { maxPositions: config.maxPositions },
    concurrent: false,
  };
  const flat = resident(ort, weights);
  const pass = {
    weights: viewTensors(ort, layout.views, { flat }),
    temperature: 1,
    wanted: isTrained,
  };
  return {
    async score(texts, places) {
      const scores: number[] = [];
      for (const [index, text] of texts.entries()) {
        const row = sequenceRow(text);
        const wanted = places?.[index] ?? [text.length - 1];
        // The score of what ends with a token stands where the token after it would be predicted.
        row.lossMask.fill(0);
        for (const place of wanted) row.lossMask[place + 1] = 1;
        checkRows([row], config);
        const [found] = await forwardPass(context, [row], pass);
        for (const place of wanted) scores.push(found?.[place + 1] ?? Number.NaN);
      }
      return Float32Array.from(scores);
    },
    async close() {
      await sessions.close();
      disposeAll(pass.weights, flat);
      await ort.close();
    },
  };
}
