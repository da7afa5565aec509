/**
 * What scorers are told of a row; plain text, preference pairs and labelled steps: no first turn on both sides of a split, and what
 * is left out is counted.
 */
import type { Row } from "@oarlock/data";
import { characterTokenizer, createTokenizer } from "@oarlock/tokenizer";
import { describe, expect, test } from "vitest";
import { demonstrationRows, labelledSteps, preferenceRankings, promptRows, scorerFields } from "./rows.ts";

const files = characterTokenizer({
  alphabet: "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789: \n",
});
const tokenizer = createTokenizer(files);
/** Two questions in each first turn: hh-rlhf has several pairs of one conversation. */
const rows = Array.from({ length: 200 }, (_, i): Row => ({
  prompt: `\n\nHuman: question ${Math.floor(i / 2)}\n\nAssistant: well\n\nHuman: and ${i}\n\nAssistant:`,
  chosen: " yes",
  rejected: ` no ${i}`,
  fields: {},
}));
const options = {
  tokenizer,
  rendering: { systemPrompt: "", chatTemplate: "auto" },
  maxTokens: 200,
  answers: 2,
  heldOut: 0.3,
  fold: 0,
  seed: 1,
} as const;
const questionOf = ([preferred]: readonly Int32Array[]): string =>
  /question (\d+)/.exec(tokenizer.decode([...(preferred ?? [])], { skipSpecialTokens: true }))?.[1] ?? "";

describe("what scorers are told", () => {
  test("has the answer that was found, whatever a column of that name holds", async () => {
    const columns = [undefined, "raw", null, 7, ["2"], { value: "2" }].map((answer) => ({
      answer,
      kind: "sum",
    }));
    const asked = await promptRows(
      columns.map((fields) => ({ prompt: "1", answer: "2", fields })),
      options,
    );
    expect(asked.map(({ fieldsJson }) => JSON.parse(fieldsJson) as unknown)).toEqual(
      columns.map(() => ({ kind: "sum", answer: "2" })),
    );
  });

  test("has the columns as they are where no answer was found, and a number that is the answer", () => {
    expect(scorerFields({ prompt: "1", fields: { answer: [2] } })).toEqual({ answer: [2] });
    expect(scorerFields({ prompt: "1", answer: "2", fields: { answer: 2 } })).toEqual({ answer: 2 });
  });
});

describe("plain text", () => {
  const text: Row = { prompt: "", completion: "once", isPlainText: true, fields: { text: "once" } };

  test("is trained from its second token to its end token, in no chat, whatever the rendering of prompts", async () => {
    const rendering = { systemPrompt: "Be kind.", chatTemplate: "always" } as const;
    const demonstrations = await demonstrationRows([text], { ...options, rendering, mask: "completion" });
    const tokens = Int32Array.from([...tokenizer.encode("once"), tokenizer.eosTokenId ?? -1]);
    expect(demonstrations).toEqual([
      { tokens, promptLength: 0, lossMask: new Uint8Array(tokens.length).fill(1, 1) },
    ]);
  });

  test("has no prompt to answer", async () => {
    await expect(promptRows([text], options)).rejects.toThrow(
      /DATA_PROMPT_MISSING.*is for supervised stages; accepted: columns prompt/,
    );
  });
});

describe("preference pairs", () => {
  test("are split by first turn, by a share of about the one asked for, whatever the order of the rows", async () => {
    const { training, heldOut, overlong } = await preferenceRankings(rows, options);
    expect(overlong).toBe(0);
    expect(training.length + heldOut.length).toBe(200);
    expect(heldOut.length).toBeGreaterThan(30);
    expect(heldOut.length).toBeLessThan(90);
    const trained = new Set(training.map(questionOf));
    expect(heldOut.filter((ranking) => trained.has(questionOf(ranking)))).toEqual([]);
    const reversed = await preferenceRankings(rows.toReversed(), options);
    expect(reversed.heldOut.map(questionOf).toSorted()).toEqual(heldOut.map(questionOf).toSorted());
    const other = await preferenceRankings(rows, { ...options, seed: 2 });
    expect(other.heldOut.map(questionOf)).not.toEqual(heldOut.map(questionOf));
  });

  test("have folds that hold out every pair once", async () => {
    const folds = await Promise.all(
      [0, 1, 2, 3].map((fold) => preferenceRankings(rows, { ...options, heldOut: 0.25, fold })),
    );
    const held = folds.flatMap(({ heldOut }) => heldOut.map(([, rejected]) => rejected?.join()));
    expect(held).toHaveLength(200);
    expect(new Set(held).size).toBe(200);
  });

  test("leave out and count what is too long, and say where nothing is left", async () => {
    const long: Row = { ...rows[0]!, chosen: " y".repeat(200) };
    const { overlong } = await preferenceRankings([...rows, long], options);
    expect(overlong).toBe(1);
    await expect(preferenceRankings(rows, { ...options, maxTokens: 10 })).rejects.toThrow(
      /DATA_EMPTY.*200 rows.*training pairs of at most 10 tokens a side/,
    );
  });
});

describe("labelled steps", () => {
  const { answers: _, ...split } = options;
  const answer = (texts: readonly string[], i = 0): Row => ({
    prompt: `question ${i}\n`,
    steps: texts.map((text, k) => ({ text, label: k % 2 })),
    fields: {},
  });
  const labelled = (rows: readonly Row[], maxTokens = 200) =>
    labelledSteps(rows, { ...split, maxTokens, heldOut: 0, stepEnd: "\n" });

  test("end where a scorer of steps looks: behind what ends each, and at the end of the text", async () => {
    const { training } = await labelled([answer(["one", "two\n", "three"])]);
    const [{ tokens, steps } = { tokens: new Int32Array(), steps: [] }] = training;
    const upTo = (end: number) =>
      tokenizer.decode(Array.from(tokens.slice(0, end + 1)), { skipSpecialTokens: true });
    expect(steps.map(({ end }) => upTo(end))).toEqual([
      "question 0\none\n",
      "question 0\none\ntwo\n",
      "question 0\none\ntwo\nthree",
    ]);
    expect(steps.at(-1)).toEqual({ end: tokens.length - 1, label: 0 });
    expect(tokens.at(-1)).toBe(tokenizer.eosTokenId);
  });

  test("of a conversation end with the end token, as a sample does, whatever its template writes behind it", async () => {
    const turns = "{% for turn in messages %}{{ turn.role }}: {{ turn.content }}<eos>\n{% endfor %}";
    const ofTemplate = (opening: string) => {
      const text = `${turns}{% if add_generation_prompt %}${opening}{% endif %}`;
      const config = JSON.stringify({ ...(JSON.parse(files.config) as object), chat_template: text });
      const chat = { ...split, maxTokens: 200, heldOut: 0, stepEnd: "\n" };
      const rendering = { systemPrompt: "", chatTemplate: "always" } as const;
      const two = [answer(["one", "two"])];
      return labelledSteps(two, { ...chat, rendering, tokenizer: createTokenizer({ ...files, config }) });
    };
    const { training } = await ofTemplate("assistant: ");
    const [{ tokens, steps } = { tokens: new Int32Array(), steps: [] }] = training;
    expect(tokenizer.decode([...tokens])).toBe("user: question 0\n<eos>\nassistant: one\ntwo<eos>");
    expect(steps).toEqual([
      { end: tokens.length - 5, label: 0 },
      { end: tokens.length - 1, label: 1 },
    ]);
    // The answer does not stand where a sample would begin.
    await expect(ofTemplate("assistant: think\n")).rejects.toThrow(/DATA_EMPTY/);
  });

  test("that cannot be told apart are left out and counted, and those too long", async () => {
    const rows = [answer(["a", "b"]), answer(["a\nb", "c"], 1), answer(["a".repeat(99)], 2)];
    expect(await labelled(rows, 60)).toMatchObject({ otherCount: 1, overlong: 1, training: { length: 1 } });
    await expect(labelled(rows.slice(1), 60)).rejects.toThrow(/DATA_EMPTY.*whose steps "\\n" tells apart/);
  });
});
