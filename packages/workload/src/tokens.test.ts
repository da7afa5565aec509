/** What of a row is the policy's prompt, and what is trained behind it. */
import { characterTokenizer, createTokenizer } from "@oarlock/tokenizer";
import type { Row } from "@oarlock/data";
import { describe, expect, test } from "vitest";
import { rowLengths } from "./row-lengths.ts";
import { demonstrationTokens, promptTokens, rankingTokens } from "./tokens.ts";

const PLAIN = { systemPrompt: "", chatTemplate: "auto" } as const;
const EOS = 2;

/** As Llama 2's: "▁" in front of every text, and the tokens "▁a" and "ba" beside the characters. */
function sentencePiece() {
  const { tokenizer, config } = characterTokenizer({ alphabet: "ab:▁" });
  const definition = JSON.parse(tokenizer) as { model: { vocab: Record<string, number> } };
  const space = { type: "Replace", pattern: { String: " " }, content: "▁" };
  const spelled = {
    ...definition,
    normalizer: { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, space] },
    pre_tokenizer: null,
    model: {
      ...definition.model,
      vocab: { ...definition.model.vocab, "▁a": 7, ba: 8 },
      merges: [
        ["▁", "a"],
        ["b", "a"],
      ],
    },
  };
  return createTokenizer({ tokenizer: JSON.stringify(spelled), config });
}

describe("a completion of text behind a prompt of text", () => {
  const tokenizer = sentencePiece();
  const [b, colon, space, spaceA, ba] = [4, 5, 6, 7, 8];
  const tokensOf = (prompt: string, completion: string): number[] => {
    const row: Row = { prompt, completion, fields: {} };
    const { tokens, promptLength, lossMask } = demonstrationTokens(row, PLAIN, {
      tokenizer,
      mask: "completion",
    });
    const sampled = promptTokens(prompt, PLAIN, tokenizer).tokens;
    expect(tokens.slice(0, promptLength)).toEqual(sampled);
    expect([...lossMask]).toEqual(Array.from(tokens, (_, i) => Number(i >= Math.max(1, sampled.length))));
    return [...tokens.subarray(promptLength)];
  };

  test.each([
    ["continues a word", "a:", "b", [b, EOS]],
    ["begins one with its space", "a:", " a", [spaceA, EOS]],
    ["gets no second space", "a:", " b", [space, b, EOS]],
    ["is empty", "a:", "", [EOS]],
    ["is all there is", "", "a", [spaceA, EOS]],
  ])("has the tokens that both have together where it %s", (_, prompt, completion, tokens) => {
    expect(tokensOf(prompt, completion)).toEqual(tokens);
  });

  test.each([
    ["a: ", "ab", [3, b, EOS]],
    ["ab", "aba", [3, ba, EOS]],
  ])(
    "has its own where a token of both would reach across the border: %j and %j",
    (prompt, completion, tokens) => {
      expect(tokensOf(prompt, completion)).toEqual(tokens);
    },
  );

  test("of a ranking, too", () => {
    const row: Row = { prompt: "a:", chosen: "b", rejected: " b", fields: {} };
    const start = [spaceA, colon];
    expect(rankingTokens(row, PLAIN, tokenizer).map((answer) => [...answer])).toEqual([
      [...start, b, EOS],
      [...start, space, b, EOS],
    ]);
  });
});

/** One token a character, and a chat template of turns like `u:hi<eos>`. */
function chat(template = TURNS) {
  const { tokenizer, config } = characterTokenizer({ alphabet: "abcdhiu:<>/ \n" });
  const withTemplate = { ...(JSON.parse(config) as object), chat_template: template };
  return createTokenizer({ tokenizer, config: JSON.stringify(withTemplate) });
}
const TURNS =
  "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}<eos>{% endfor %}{{ 'a:' if add_generation_prompt }}";
const asked = { role: "user", content: "hi" };
const replied = (content: string) => ({ role: "assistant", content });

describe("a conversation that ends with a reply", () => {
  const tokenizer = chat();
  const prompt = [asked, replied("a b")];
  const trained = (completion: Row["completion"] & {}) => {
    const row: Row = { prompt, completion, fields: {} };
    const { tokens, lossMask } = demonstrationTokens(row, PLAIN, { tokenizer, mask: "completion" });
    const part = (wanted: number) => tokenizer.decode([...tokens].filter((_, i) => lossMask[i] === wanted));
    return [part(0), part(1)];
  };

  test("is continued within it, as a prompt (TRL: continue_final_message)", () => {
    const { tokens, text } = promptTokens(prompt, PLAIN, tokenizer);
    expect(text).toBe("u:hi<eos>a:a b");
    expect(tokenizer.decode([...tokens])).toBe(text);
    expect(promptTokens([asked], PLAIN, tokenizer).text).toBe("u:hi<eos>a:");
  });

  test("is gone on with by a completion of text, and followed by one of messages", () => {
    expect(trained("/c")).toEqual(["u:hi<eos>a:a b", "/c<eos>"]);
    expect(trained([replied("c")])).toEqual(["u:hi<eos>a:a b<eos>a:", "c<eos>"]);
    expect(() => promptTokens(prompt, PLAIN, chat("{{ messages[0].content }}"))).toThrow(
      /TOKENIZER_TEMPLATE.*leaves parts of the last message out/,
    );
  });

  test("is what answers of messages follow, whatever the template leaves out of it", () => {
    const short = chat(TURNS.replace("m.content", "m.content[-1:]"));
    const [chosen, rejected] = [
      [asked, replied("c")],
      [asked, replied("d")],
    ];
    const answers = rankingTokens({ prompt, chosen, rejected, fields: {} }, PLAIN, short);
    expect(answers.map((tokens) => short.decode([...tokens]))).toEqual(
      ["c", "d"].map((last) => `u:i<eos>a:b<eos>u:i<eos>a:${last}<eos>`),
    );
  });
});

describe("a template that opens answers with what it leaves out of whole conversations", () => {
  const opening = "{{ 'a:<b>' if add_generation_prompt }}";
  const thinking = chat(TURNS.replace("{{ 'a:' if add_generation_prompt }}", opening));
  const row: Row = { prompt: [asked], completion: [replied("c d")], fields: {} };
  const options = { tokenizer: thinking, mask: "completion" } as const;

  test("has the completion trained from where both part, and the end that is missing is told", () => {
    const { tokens, lossMask, promptLength, unseen } = demonstrationTokens(row, PLAIN, options);
    expect(promptLength).toBe("u:hi".length + 1 + "a:".length);
    const trained = [...tokens].filter((_, i) => lossMask[i] === 1);
    expect(thinking.decode(trained)).toBe("c d<eos>");
    expect(unseen).toBe("<b>");
    const dataset = {
      name: "n",
      digest: "",
      parts: [],
      rows: [row, { ...row, prompt: "hi", completion: "c" }, row],
    };
    expect(rowLengths(dataset, PLAIN, { tokenizer: thinking, measured: "demonstration" })).toEqual({
      lengths: [tokens.length, 4, tokens.length],
      unseen: { rows: 2, end: "<b>" },
    });
    expect(demonstrationTokens(row, PLAIN, { ...options, tokenizer: chat() })).not.toHaveProperty("unseen");
  });

  test("X1: is refused where it leaves the whole completion out", () => {
    const deaf = chat(
      "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}",
    );
    const rows: Row[] = [{ prompt: "hi", completion: "c", fields: {} }, row];
    const dataset = { name: "n", digest: "", parts: [], rows };
    expect(() => rowLengths(dataset, PLAIN, { tokenizer: deaf, measured: "demonstration" })).toThrow(
      /DATA_COMPLETION_UNSEEN\] row 2 of n: the model's chat template .*renders nothing of the completion.*"hi"/,
    );
  });
});
