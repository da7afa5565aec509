/** The vocabulary of a GGUF file gives the tokens that the file's own model was trained with. */
import { createTokenizer } from "@oarlock/tokenizer";
import { expect, test } from "vitest";
import { ggufTokenizer } from "./tokenizer.ts";

const [NORMAL, UNKNOWN, CONTROL, USER_DEFINED] = [1, 2, 3, 4];
const tokenizerOf = (metadata: object) =>
  createTokenizer(
    ggufTokenizer(
      Object.fromEntries(Object.entries(metadata).map(([key, value]) => [`tokenizer.ggml.${key}`, value])),
      "model.gguf",
    ),
  );

test("SentencePiece: a token that a user defined is one wherever it stands, and no special one", () => {
  const tokenizer = tokenizerOf({
    model: "llama",
    tokens: ["<unk>", "<s>", "</s>", "▁", "a", "<", "b", ">", "<b>"],
    scores: [0, 0, 0, -1, -2, -3, -4, -5, 0],
    token_type: [UNKNOWN, CONTROL, CONTROL, NORMAL, NORMAL, NORMAL, NORMAL, NORMAL, USER_DEFINED],
    bos_token_id: 1,
    eos_token_id: 2,
  });
  expect([...tokenizer.encode("a<b>")]).toEqual([1, 3, 4, 8]);
  expect([...tokenizer.encode("a<b")]).toEqual([1, 3, 4, 5, 6]);
  expect(tokenizer.decode([1, 3, 4, 8, 2], { skipSpecialTokens: true })).toBe("a<b>");
});

const bytes = (pre: string, more: object = {}) =>
  tokenizerOf({
    model: "gpt2",
    pre,
    tokens: ["<s>", "a", "b", "c", "bc", "abc"],
    merges: ["b c"],
    bos_token_id: 0,
    ...more,
  });

test("byte-level BPE: Llama 3 takes a word that is a token for it, and others what merging makes of it", () => {
  expect([...bytes("llama-bpe").encode("abc", { addSpecialTokens: false })]).toEqual([5]);
  expect([...bytes("qwen2").encode("abc", { addSpecialTokens: false })]).toEqual([1, 4]);
});

test("byte-level BPE: Llama 3 begins texts with its bos token, unless the file says otherwise", () => {
  expect([...bytes("llama-bpe").encode("a")]).toEqual([0, 1]);
  expect([...bytes("llama-bpe", { add_bos_token: false }).encode("a")]).toEqual([1]);
  expect([...bytes("qwen2").encode("a")]).toEqual([1]);
  expect([...bytes("qwen2", { add_bos_token: true }).encode("a")]).toEqual([0, 1]);
});
