/** Actor and learner are one model: what was drawn has, for the trainer, the log-probs that it was drawn with. */
import { readFileSync } from "node:fs";
import { createGenerator } from "@oarlock/generation";
import { requireFile } from "@oarlock/testkit";
import { createTokenizer } from "@oarlock/tokenizer";
import { createTrainer, type TrainingRow } from "@oarlock/training";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { storyNll, storyRows, storyText } from "./story-nll.ts";
import { readStories260k, storiesFile } from "./stories260k.ts";

const tokenizerFile = requireFile("models", "../shared/models/stories260K/hf/tokenizer.json");
const tokenizerConfig = requireFile("models", "../shared/models/stories260K/hf/tokenizer_config.json");

describe.skipIf(storiesFile.absent)(`stories260K in the trainer${storiesFile.note}`, () => {
  let trainer: Awaited<ReturnType<typeof createTrainer>>;
  beforeAll(async () => {
    trainer = await createTrainer(readStories260k());
  });
  afterAll(() => trainer.close());

  const row = (tokens: Int32Array, promptLength: number): TrainingRow => ({
    tokens,
    promptLength,
    lossMask: Uint8Array.from(tokens, (_, t) => (t < promptLength ? 0 : 1)),
  });

  it.each([
    { temperature: 1, layout: "inputs" },
    { temperature: 0.7, layout: "inputs" },
    { temperature: 1, layout: "initializers" },
  ] as const)(
    "behaviour log-probs agree to 1e-4: $temperature, weights as $layout",
    async ({ temperature, layout }) => {
      const { config, weights } = readStories260k();
      const generator = await createGenerator({ config, layout, workers: 2, maxLength: 160 });
      try {
        await generator.load(weights, { number: 0, digest: "stories260K" });
        const prompts = [[1], [1, 403, 407, 261, 378], [1, 403, 407, 261, 378, 432, 383, 286, 261, 376]];
        const worst: number[] = [];
        for (const [group, ids] of prompts.entries()) {
          const prompt = Int32Array.from(ids);
          const key = { seed: 11, purpose: "rollout", stage: 0, step: 0, group, draw: 0 } as const;
          const completions = await generator.submit({
            id: String(group),
            prompt,
            samples: Array.from({ length: 8 }, (_, sample) => ({ ...key, sample })),
            params: { temperature, topK: 0, topP: 1, maxNewTokens: 128, stopTokens: [1] },
          });
          const rows = completions.map(({ tokens }) =>
            row(Int32Array.of(...prompt, ...tokens), prompt.length),
          );
          const scored = await trainer.logprobs(rows, "policy", { microBatchSize: 8, temperature });
          completions.forEach(({ logprobs }, i) => {
            worst.push(...logprobs.map((value, t) => Math.abs(value - scored[i]![prompt.length + t]!)));
          });
        }
        expect(worst.length).toBeGreaterThan(2000);
        expect(Math.max(...worst)).toBeLessThan(1e-4);
      } finally {
        await generator.close();
      }
    },
  );

  it.skipIf(storyText.absent || tokenizerFile.absent)(
    `gives the published mean NLL of 1.5759 nats on story text${storyText.note}`,
    async () => {
      const files = {
        tokenizer: readFileSync(tokenizerFile.path, "utf8"),
        config: readFileSync(tokenizerConfig.path, "utf8"),
      };
      const tokenizer = createTokenizer(files);
      expect(storyRows(tokenizer)).toHaveLength(75); // of 19,289 tokens
      const { config, weights } = readStories260k();
      expect(await storyNll(config, weights, tokenizer)).toBeCloseTo(1.5759, 4);
    },
  );
});
