/** How well a model still tells stories: mean negative log-likelihood of real story text, by the recipe of the reference. */
import { readFileSync } from "node:fs";
import type { LlamaConfig } from "@oarlock/nn";
import { requireFile, type WantedFile } from "@oarlock/testkit";
import type { Tokenizer } from "@oarlock/tokenizer";
import { createTrainer, type TrainingRow } from "@oarlock/training";

export const storyText: WantedFile = requireFile("data", "../shared/data/text/tinystories_niklas6.txt");

/** Tokens of a window. */
const WINDOW = 256;

/** The first 40,000 characters in complete windows of 256 tokens, each with BOS in front; BOS is not scored. */
export function storyRows(tokenizer: Tokenizer): TrainingRow[] {
  const ids = tokenizer.encode(readFileSync(storyText.path, "utf8").slice(0, 40_000)); // begins with BOS
  return Array.from({ length: Math.floor(ids.length / WINDOW) }, (_, window) => ({
    tokens: Int32Array.of(1, ...ids.subarray(window * WINDOW, (window + 1) * WINDOW)),
    promptLength: 1,
    lossMask: new Uint8Array(WINDOW + 1).fill(1, 1),
  }));
}

/** Nats per token. */
export async function storyNll(
  config: LlamaConfig,
  weights: Float32Array,
  tokenizer: Tokenizer,
): Promise<number> {
  await using trainer = await createTrainer({ config, weights });
  const rows = storyRows(tokenizer);
  const scored = await trainer.logprobs(rows, "policy", { microBatchSize: 8 });
  const total = scored.reduce((sum, logprobs) => sum + logprobs.reduce((part, value) => part + value, 0), 0);
  return -total / (rows.length * WINDOW);
}
