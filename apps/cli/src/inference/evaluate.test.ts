/** What an evaluation outside a run says where there is less to say than was asked for. */
import type { ResolvedEvaluation } from "@oarlock/runfile";
import { characterTokenizer, createTokenizer } from "@oarlock/tokenizer";
import type { ScorerSet } from "@oarlock/workload";
import { expect, test } from "vitest";
import { evaluate, type Evaluated } from "./evaluate.ts";
import type { Policy } from "./policy.ts";

const EVALUATION: ResolvedEvaluation = {
  data: { type: "task", task: { name: "addition", digits: 1, split: "test", limit: 4 } },
  every: 0,
  samples: 2,
  temperature: 1,
  topK: 0,
  topP: 1,
  maxNewTokens: 2,
  maxPromptLength: 4,
  greedy: true,
  rewards: [
    {
      name: "answer",
      type: "exact",
      exact: { field: "answer", caseSensitive: true, trim: true },
      weight: 1,
      optional: false,
      heldOut: false,
      timeoutMs: 1000,
    },
  ],
  metric: "answer",
  passThreshold: 1,
};

type Verdict = Awaited<ReturnType<ScorerSet["score"]>>[number][number];

const RIGHT: Verdict = { type: "scored", value: 1 };
const FAILED: Verdict = { type: "failed", code: "REWARD_THREW", reason: "boom", retryable: false };

/** A policy that answers 1 to everything, judged by `verdict`: the number of the completion gives a verdict. */
async function evaluated(
  changes: Partial<ResolvedEvaluation>,
  verdict: (completion: number) => Verdict,
): Promise<Evaluated> {
  const tokenizer = createTokenizer(characterTokenizer({ alphabet: "0123456789+=" }));
  const completion = { tokens: tokenizer.encode("1"), finishReason: "stop" };
  const policy = {
    tokenizer,
    complete: async ({ samples }: { readonly samples: number }) =>
      Array.from({ length: samples }, () => completion),
    textOf: () => "1",
  } as unknown as Policy; // the part that is used
  let completions = 0;
  const scorers = {
    score: async (inputs: readonly unknown[]) => inputs.map(() => [verdict(completions++)]),
  } as never; // the part that is used
  return evaluate(policy, {
    evaluation: { ...EVALUATION, ...changes },
    scorers,
    baseDir: ".",
    seed: 0,
    place: { stage: 0, step: 0 },
    signal: new AbortController().signal,
    onProgress: () => undefined,
  });
}

test("completions that could not be scored are counted, with the reason of each", async () => {
  const { metrics, failures, completions, overlong } = await evaluated({}, (completion) =>
    completion === 0 ? FAILED : RIGHT,
  );
  expect(failures).toEqual(["answer: REWARD_THREW: boom"]);
  expect({ completions, overlong }).toEqual({ completions: 12, overlong: 0 });
  expect(metrics["val-core/addition/answer/mean@2"]).toBe(1);
  expect(metrics["val-aux/addition/failed_fraction"]).toBe(1 / 8);
});

test("S1: an evaluation without one score is an error that says why", async () => {
  await expect(evaluated({}, () => FAILED)).rejects.toThrow(
    "[REWARDS_FAILED] none of 12 completions could be scored; the first: answer: REWARD_THREW: boom",
  );
});

test("prompts that are all too long are an error", async () => {
  await expect(evaluated({ maxPromptLength: 3 }, () => RIGHT)).rejects.toThrow(
    "[DATA_EMPTY] none of the 4 prompts of the evaluation has 3 tokens or fewer; accepted: another evaluation.maxPromptLength",
  );
});
