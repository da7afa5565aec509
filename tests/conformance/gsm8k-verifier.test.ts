/** The verifier of numbers against GSM8K's own judgement of model solutions, right and wrong. */
import { readFileSync } from "node:fs";
import { createVerifier } from "@oarlock/rewards";
import { requireFile } from "@oarlock/testkit";
import { expect, test } from "vitest";

interface ModelSolution {
  readonly is_correct: boolean;
  readonly solution: string;
}

const solutions = requireFile("data", "../shared/data/gsm8k/example_model_solutions.jsonl");

test.skipIf(solutions.absent)(`agrees with all 5,276 judgements${solutions.note}`, () => {
  const verify = createVerifier("numeric", {
    field: "answer",
    extract: "last-number",
    absoluteTolerance: 1e-6,
    relativeTolerance: 0,
  });
  let [judged, agreed] = [0, 0];
  for (const line of readFileSync(solutions.path, "utf8").trim().split("\n")) {
    const { question: prompt, ground_truth: answer, ...models } = JSON.parse(line) as Record<string, unknown>;
    // Every other entry of a line is one model's solution.
    for (const { solution, is_correct } of Object.values(models) as ModelSolution[]) {
      const input = { completionTokens: 1, truncated: false, fields: { answer } };
      const verdict = verify({ ...input, prompt: String(prompt), completion: solution });
      judged++;
      if (verdict.type === "scored" && (verdict.value === 1) === is_correct) agreed++;
    }
  }
  expect([agreed, judged]).toEqual([5276, 5276]);
});
