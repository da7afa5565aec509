/**
 * A real instruct model from file to answer: SmolLM2-135M-Instruct, 30 layers, 9 query and 3 key-value heads.
 * Its file is put into the cache by `bash ../shared/models/smollm2-135m-instruct/fetch.sh`; the golden answers were made
 * with transformers on the same dequantised weights.
 */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { main, recordingTerminal } from "@oarlock/cli";
import { createGenerator, type Generator } from "@oarlock/generation";
import { loadGguf } from "@oarlock/models";
import { requireFile, temporaryFolder } from "@oarlock/testkit";
import { createTokenizer, type Tokenizer } from "@oarlock/tokenizer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const cache = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
const weightsFile = requireFile(
  "smollm2",
  join(cache, "oarlock/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf"),
);
const goldenFile = requireFile("smollm2", "../shared/models/smollm2-135m-instruct/golden.json");

interface GoldenCase {
  readonly question: string;
  readonly rendered: string;
  readonly completion: string;
  readonly prompt_ids: readonly number[];
  readonly completion_ids: readonly number[];
  readonly completion_logprobs: readonly number[];
}
const cases: readonly GoldenCase[] = goldenFile.absent
  ? []
  : JSON.parse(readFileSync(goldenFile.path, "utf8")).cases;

describe.skipIf(weightsFile.absent || goldenFile.absent)(`SmolLM2-135M-Instruct${weightsFile.note}`, () => {
  let generator: Generator;
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    const { config, weights, digest, tokenizer: files } = await loadGguf(weightsFile.path, { shared: true });
    tokenizer = createTokenizer(files!); // from the vocabulary and the template inside the file
    generator = await createGenerator({ config, slots: 4, maxLength: 128 });
    await generator.load(weights, { number: 0, digest });
  });
  afterAll(() => generator.close());

  const answer = ({ prompt_ids }: GoldenCase, group: number) =>
    generator.submit({
      id: String(group),
      prompt: Int32Array.from(prompt_ids),
      samples: [{ seed: 0, purpose: "evaluation", stage: 0, step: 0, group, draw: 0, sample: 0 }],
      params: { temperature: 0, topK: 0, topP: 1, maxNewTokens: 32, stopTokens: [2] },
    });

  it("renders and encodes the golden prompts, by the file's own vocabulary and template", () => {
    for (const { question, rendered, prompt_ids, completion, completion_ids } of cases) {
      const messages = [{ role: "user", content: question }];
      expect(tokenizer.renderChat(messages)).toBe(rendered);
      expect([...tokenizer.encodeChat(messages)]).toEqual(prompt_ids);
      expect(tokenizer.decode(completion_ids)).toBe(completion);
    }
  });

  it("gives the golden greedy answers, and their log-probs to 1e-3, all in one batch", async () => {
    const answers = (await Promise.all(cases.map(answer))).flat();
    expect(answers.map(({ tokens }) => [...tokens])).toEqual(
      cases.map(({ completion_ids }) => completion_ids),
    );
    const errors = answers.flatMap(({ logprobs }, i) =>
      Array.from(logprobs, (value, t) => Math.abs(value - (cases[i]?.completion_logprobs[t] ?? Number.NaN))),
    );
    expect(Math.max(...errors)).toBeLessThan(1e-3);
  });

  it("D3: answers bit for bit the same alone", async () => {
    const together = (await Promise.all(cases.map(answer))).flat();
    for (const [group, golden] of cases.entries()) {
      const [alone] = await answer(golden, group);
      expect(alone).toEqual(together[group]);
    }
  });

  it("answers in oarlock chat, from a folder that oarlock convert wrote in half precision", async () => {
    const folder = join(temporaryFolder("smollm2"), "model");
    const terminal = recordingTerminal();
    const converted = await main(
      ["node", "oarlock", "convert", weightsFile.path, folder, "--dtype", "f16"],
      terminal,
    );
    expect([converted, terminal.lines.join("\n")]).toEqual([
      0,
      expect.stringContaining("134,515,008 parameters in float16"),
    ]);
    const chat = recordingTerminal();
    expect(await main(["node", "oarlock", "chat", folder, "--prompt", cases[0]!.question], chat)).toBe(0);
    expect(chat.lines).toEqual(["The capital of France is Paris."]);
  });
});
