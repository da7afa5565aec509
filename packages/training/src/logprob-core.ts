/** As `LogprobModel`, on the calling thread. It blocks while it computes. */
import { type FrozenModelOptions, openFrozenModel } from "./frozen-model.ts";
import type { CompletedPrompt, LogprobModelCall } from "./logprob-model.ts";
import { pieces, type WantedToken } from "./packing.ts";

export interface LogprobCore {
  logprobs(completed: readonly CompletedPrompt[], call: LogprobModelCall): Promise<Float32Array[]>;
  close(): Promise<void>;
}

/** The completion, and the token before it: a pass that predicts one token alone rounds otherwise. */
const wanted: WantedToken = ({ promptLength }, token) => token >= promptLength - 1;

export async function openLogprobCore(options: FrozenModelOptions): Promise<LogprobCore> {
  const model = await openFrozenModel(options, "logits");
  return {
    async logprobs(completed, { temperature, microBatchSize }) {
      const found: Float32Array[] = [];
      for (const together of pieces(completed, microBatchSize)) {
        const rows = together.map((one) => ({ ...one, lossMask: new Uint8Array(one.tokens.length) }));
        const logprobs = await model.forward(rows, { temperature, wanted });
        found.push(...logprobs.map((of, i) => of.slice(rows[i]?.promptLength)));
      }
      return found;
    },
    close: () => model.close(),
  };
}
