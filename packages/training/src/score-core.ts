/** A reward model on the calling thread. It blocks while it computes; `createScoreModel` puts it into a worker thread. */
import { OarlockError } from "@oarlock/errors";
import { parameterLayout } from "@oarlock/nn";
import { openOrt } from "@oarlock/ort";
import { checkRows, isTrained } from "./packing.ts";
import { forwardPass } from "./passes.ts";
import { sequenceRow } from "./sequence-row.ts";
import { createSessionCache } from "./sessions.ts";
import { disposeAll, resident, viewTensors } from "./state.ts";
import type { ScoreModelOptions } from "./score-model.ts";

export interface ScoreCore {
  /** The score at the last token of each text. */
  score(texts: readonly Int32Array[]): Promise<Float32Array>;
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
    async score(texts) {
      const scores = new Float32Array(texts.length);
      for (const [index, text] of texts.entries()) {
        const rows = [sequenceRow(text)];
        checkRows(rows, config);
        scores[index] = (await forwardPass(context, rows, pass))[0]?.at(-1) ?? Number.NaN;
      }
      return scores;
    },
    async close() {
      await sessions.close();
      disposeAll(pass.weights, flat);
      await ort.close();
    },
  };
}
