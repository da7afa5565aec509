/** As `CompletionModel`, on the calling thread. It blocks while it computes. */
import { pause } from "./calls.ts";
import { type FrozenModelOptions, openFrozenModel } from "./frozen-model.ts";
import type { CompletedPrompt, CompletionModelCall } from "./completion-model.ts";
import { pieces, type WantedToken } from "./packing.ts";

export interface CompletionCore {
  /** Throws `TRAINING_ABORTED` where `signal` stops it between two passes. */
  perToken(
    completed: readonly CompletedPrompt[],
    call: CompletionModelCall,
    signal?: AbortSignal,
  ): Promise<Float32Array[]>;
  load(weights: Float32Array): void;
  close(): Promise<void>;
}

/** The completion, and the token before it: a pass that predicts one token alone rounds otherwise. */
const wanted: WantedToken = ({ promptLength }, token) => token >= promptLength - 1;

export async function openCompletionCore(options: FrozenModelOptions): Promise<CompletionCore> {
  const model = await openFrozenModel(options, ["logits", "score"]);
  return {
    async perToken(completed, { temperature, microBatchSize }, signal) {
      const found: Float32Array[] = [];
      for (const together of pieces(completed, microBatchSize)) {
        await pause(signal);
        const rows = together.map((one) => ({ ...one, lossMask: new Uint8Array(one.tokens.length) }));
        const numbers = await model.forward(rows, { temperature, wanted });
        found.push(...numbers.map((of, i) => of.slice(rows[i]?.promptLength)));
      }
      return found;
    },
    load: (weights) => model.load(weights),
    close: () => model.close(),
  };
}
