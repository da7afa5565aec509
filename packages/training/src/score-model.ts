/**
 * A reward model at work: scores of texts, in a worker thread of its own (P1). It is not trained here.
 *
 * Each text is a run of its own, at its own padded length: a score is a function of the text alone (D3), whatever else is
 * asked for at the same time.
 */
import { createRequire } from "node:module";
import { openEngineWorker } from "@oarlock/runtime";
import type { FrozenModelOptions } from "./frozen-model.ts";

/** Of a model with a score head. */
export type ScoreModelOptions = FrozenModelOptions;

/** Of each text, the indices of the tokens whose scores are wanted: that of a token is the score of the text cut after it. */
export type ScorePlaces = readonly (readonly number[])[];

export interface ScoreModel extends AsyncDisposable {
  /** The score at the last token of each text, or those at its `places`, text by text; one pass over each text. */
  score(texts: readonly Int32Array[], options: ScoreCallOptions): Promise<Float32Array>;
  close(): Promise<void>;
}

export interface ScoreCallOptions {
  /** L1: for the whole call. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** Default: the last token of each text. */
  readonly places?: ScorePlaces;
}

/** Calls between a score model's owner and its worker thread. @internal */
export type ScoreModelMethods = {
  open(request: ScoreModelOptions): Promise<void>;
  score(request: {
    readonly texts: readonly Int32Array[];
    readonly places: ScorePlaces | undefined;
  }): Promise<Float32Array>;
  close(request: undefined): Promise<void>;
};

/** Starts the worker and opens the engine. */
export async function createScoreModel(options: ScoreModelOptions): Promise<ScoreModel> {
  const { client, close } = await openEngineWorker<ScoreModelMethods>({
    name: "score model",
    entry: createRequire(import.meta.url).resolve("@oarlock/training/score-worker"),
    settings: options,
  });
  return {
    score: (texts, { places, ...call }) => client.call("score", { texts, places }, call),
    close,
    [Symbol.asyncDispose]: close,
  };
}
