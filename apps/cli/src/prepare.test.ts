/** What is strange about data and no reason to refuse it is said once for each data set. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { characterTokenizer } from "@oarlock/tokenizer";
import { expect, it, onTestFinished } from "vitest";
import { prepare } from "./prepare.ts";

const RUN_FILE = `
apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: turns }
spec:
  model:
    init: { hiddenSize: 16, intermediateSize: 32, layers: 1, heads: 2, maxPositions: 16,
            tokenizer: { type: file, file: { path: ./tokenizer.json } } }
  stages:
    - name: learn
      type: sft
      sft:
        data: { type: file, file: { path: ./rows.jsonl } }
        steps: 2
        batchSize: 2
`;
const turns = [
  { role: "user", content: "ab" },
  { role: "assistant", content: "b" },
];

it("that a prompt is asked otherwise than it is trained", async () => {
  const folder = mkdtempSync(join(tmpdir(), "oarlock-prepare-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const { tokenizer, config } = characterTokenizer({ alphabet: "ab:<>" });
  const warnings = async (opening: string): Promise<string[]> => {
    const template = `{% for m in messages %}:{{ m.content }}{% endfor %}{{ '${opening}' if add_generation_prompt }}`;
    const files = {
      "run.yaml": RUN_FILE,
      "rows.jsonl": `${JSON.stringify({ messages: turns })}\n`.repeat(3),
      "tokenizer.json": tokenizer,
      "tokenizer_config.json": JSON.stringify({ ...(JSON.parse(config) as object), chat_template: template }),
    };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    const said: string[] = [];
    await prepare(join(folder, "run.yaml"), [], { onWarning: (sentence) => said.push(sentence) });
    return said;
  };
  expect(await warnings(":<a>")).toEqual([
    expect.stringMatching(/^stages\.0\.sft\.data: in 3 of 3 rows .*"<a>" at its end is missing/),
  ]);
  expect(await warnings(":")).toEqual([]);
});
