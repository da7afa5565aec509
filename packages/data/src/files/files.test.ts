import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { fc, test } from "@fast-check/vitest";
import { requireFile, temporaryFolder } from "@oarlock/testkit";
import { describe, expect } from "vitest";
import { toRow } from "./conventions.ts";
import { openFileData } from "./open-file-data.ts";
import { formatOf, readTable } from "./table.ts";

const row = (values: Record<string, unknown>, names = {}) => toRow({ place: "row 1", values }, names);
const user = { role: "user", content: "Hi" };
const assistant = { role: "assistant", content: "Hello" };

describe("conventions", () => {
  test("TRL: prompt, prompt-completion, conversational, preference with and without a prompt", () => {
    expect(row({ prompt: "a" })).toMatchObject({ prompt: "a" });
    expect(row({ prompt: "a", completion: " b" })).toMatchObject({ prompt: "a", completion: " b" });
    expect(row({ messages: [user, assistant] })).toMatchObject({ prompt: [user], completion: [assistant] });
    expect(row({ prompt: [user], completion: [assistant] })).toMatchObject({
      prompt: [user],
      completion: [assistant],
    });
    expect(row({ prompt: "a", ranking: ["b", "c", "d"] })).toMatchObject({
      prompt: "a",
      ranking: ["b", "c", "d"],
    });
    // A column that only has this name, unless it was named.
    expect(row({ prompt: "a", ranking: 3 }).ranking).toBeUndefined();
    expect(() => row({ prompt: "a", order: ["b"] }, { ranking: "order" })).toThrow(
      /field "order": .*accepted: a list of two answers or more, the best first/,
    );
    expect(row({ prompt: "a", chosen: "b", rejected: "c" })).toMatchObject({
      prompt: "a",
      chosen: "b",
      rejected: "c",
    });
    const other = { role: "assistant", content: "No" };
    expect(row({ chosen: [user, assistant], rejected: [user, other] })).toMatchObject({
      prompt: [user],
      chosen: [assistant],
      rejected: [other],
    });
  });
  test("TRL: a pair of whole dialogues has its prompt in them, beside a prompt of text too", () => {
    const other = { role: "assistant", content: "No" };
    const pair = { chosen: [user, assistant], rejected: [user, other] };
    // As ultrafeedback_binarized has them.
    for (const more of [{}, { prompt: "Hi" }, { prompt: "Hi", messages: [user, assistant] }])
      expect(row({ ...more, ...pair })).toMatchObject({
        prompt: [user],
        chosen: [assistant],
        rejected: [other],
      });
    expect(row({ prompt: "Hi", chosen: [user, assistant], rejected: [user, assistant, user] })).toMatchObject(
      {
        prompt: [user],
        chosen: [assistant],
        rejected: [assistant, user],
      },
    );
    // A prompt of messages is the prompt, and so is one that the dialogues do not begin with.
    expect(row({ prompt: [user], ...pair })).toMatchObject({ prompt: [user], ...pair });
    const replies = { chosen: [assistant], rejected: [other] };
    expect(row({ prompt: "Hi", ...replies })).toMatchObject({ prompt: "Hi", ...replies });
    expect(row({ prompt: "Hi", chosen: "a", rejected: "b", messages: [user, assistant] }).prompt).toBe("Hi");
  });
  test("a reply of messages has its prompt there, beside a prompt of text too", () => {
    const question = { role: "user", content: "And you?" };
    const messages = [user, assistant, question, assistant];
    // As ultrachat has them.
    const expected = { prompt: [user, assistant, question], completion: [assistant] };
    expect(row({ prompt: "Hi", messages })).toMatchObject(expected);
    expect(row({ prompt: "Hi", messages: [user] }).prompt).toBe("Hi");
    expect(row({ prompt: "Hi", completion: "Hello", messages })).toMatchObject({
      prompt: "Hi",
      completion: "Hello",
    });
    // What was named is taken.
    expect(row({ prompt: "Hi", messages }, { prompt: "prompt" }).prompt).toBe("Hi");
  });
  test("a conversation that ends with a question is all prompt, also behind examples and calls of tools", () => {
    const question = { role: "user", content: "And you?" };
    const result = { role: "tool", content: "7" };
    for (const messages of [[user, assistant, question], [user, assistant, result], [user]]) {
      const { prompt, completion } = row({ messages });
      expect(prompt).toEqual(messages);
      expect(completion).toBeUndefined();
    }
    expect(row({ messages: [user, assistant, result, assistant] })).toMatchObject({
      prompt: [user, assistant, result],
      completion: [assistant],
    });
  });
  test("TRL: language modelling, a column text and no prompt", () => {
    expect(row({ text: "Once" })).toEqual({
      prompt: "",
      completion: "Once",
      isPlainText: true,
      fields: { text: "Once" },
    });
    expect(row({ text: "Once", prompt: "a" }).isPlainText).toBeUndefined();
    expect(() => row({ text: 1 })).toThrow(/field "prompt": missing; the row has: text/);
    expect(() => row({ prompt: null, text: 1 })).toThrow(/field "prompt": is null/);
    expect(() => row({ text: "Once" }, { answer: "solution" })).toThrow(/field "prompt": missing/);
  });
  test("TRL: stepwise supervision, labels true or false or shares", () => {
    const completions = ["a", "b"];
    expect(row({ prompt: "q", completions, labels: [true, 0] }).steps).toEqual([
      { text: "a", label: 1 },
      { text: "b", label: 0 },
    ]);
    expect(
      row({ prompt: "q", parts: ["a"], right: [0.25] }, { completions: "parts", labels: "right" }).steps,
    ).toEqual([{ text: "a", label: 0.25 }]);
    expect(() => row({ prompt: "q", completions, labels: [true] })).toThrow(
      /DATA_ROW.*field "labels": has 1 labels of 2 steps/,
    );
    expect(() => row({ prompt: "q", completions, labels: [1, -1] })).toThrow(
      /field "labels": label 2 is -1 \(number\); accepted: a list of true or false/,
    );
    // Columns that only have these names, unless they were named.
    expect(row({ prompt: "q", completions: [{ text: "a" }], labels: [1] }).steps).toBeUndefined();
    expect(row({ prompt: "q", completions, labels: "good" }).steps).toBeUndefined();
    expect(() => row({ prompt: "q", parts: "a", labels: [1] }, { completions: "parts" })).toThrow(
      /field "parts": is "a" \(string\); accepted: a list of texts/,
    );
  });
  test("verl: messages and reward_model.ground_truth", () => {
    expect(
      row({ prompt: [user], reward_model: { style: "rule", ground_truth: "42" }, data_source: "x" }),
    ).toMatchObject({ prompt: [user], answer: "42" });
  });
  test("OpenAI: content in parts of text", () => {
    const parts = [
      { type: "text", text: "Hi" },
      { type: "text", text: "!" },
    ];
    expect(row({ prompt: [{ role: "user", content: parts }] })).toMatchObject({
      prompt: [{ role: "user", content: "Hi!" }],
    });
    const image = [...parts, { type: "image_url", image_url: { url: "x" } }];
    expect(() => row({ prompt: [{ role: "user", content: image }] })).toThrow(/DATA_ROW.*field "prompt"/);
  });
  test("definitions of tools, which no prompt would show, are refused", () => {
    const tools = [{ type: "function", function: { name: "add" } }];
    expect(() => row({ prompt: [user], tools })).toThrow(
      /DATA_ROW.*field "tools": has definitions of tools, which are not rendered into prompts/,
    );
    expect(() => row({ messages: [user, assistant], tools: JSON.stringify(tools) })).toThrow(/"tools"/);
    for (const none of [[], "[]", "", null])
      expect(row({ prompt: [user], tools: none })).toMatchObject({ prompt: [user] });
    // Of text, which no template renders, they are a column like any other.
    expect(row({ prompt: "a", tools })).toMatchObject({ prompt: "a", fields: { tools } });
  });
  test("Alpaca, ShareGPT, hh-rlhf", () => {
    expect(row({ instruction: "Add", input: "1 2", output: "3" })).toMatchObject({
      prompt: "Add\n\n1 2",
      completion: "3",
    });
    expect(
      row({
        conversations: [{ from: "human", value: "Hi" }],
        chosen: { from: "gpt", value: "a" },
        rejected: { from: "gpt", value: "b" },
      }),
    ).toMatchObject({
      prompt: [user],
      chosen: [{ role: "assistant", content: "a" }],
    });
    const start = "\n\nHuman: Hi\n\nAssistant:";
    expect(row({ chosen: `${start} Good day`, rejected: `${start} Go away` })).toMatchObject({
      prompt: start,
      chosen: " Good day",
      rejected: " Go away",
    });
  });
  test("SVAMP: the story before the question, with a full stop where it has none", () => {
    const Question = "How many are left?";
    const expected = "Ann had 3 eggs. How many are left?";
    expect(row({ Body: "Ann had 3 eggs", Question, Answer: 3 })).toMatchObject({
      prompt: expected,
      answer: "3",
    });
    expect(row({ Body: " Ann had 3 eggs. ", Question }).prompt).toBe(expected);
    for (const Body of ["", null, 3]) expect(row({ Body, Question }).prompt).toBe(Question);
    expect(row({ Body: "Ann had 3 eggs", question: Question }).prompt).toBe(Question);
  });
  test("columns of one's own, also nested; what is named must be there", () => {
    expect(row({ q: "1+1", meta: { result: 2 } }, { prompt: "q", answer: "meta.result" })).toMatchObject({
      prompt: "1+1",
      answer: "2",
    });
    expect(() => row({ q: "1+1" }, { prompt: "query" })).toThrow(
      /row 1, field "query": missing; the row has: q/,
    );
  });
  test("an answer is text or a finite number; NaN is none, and what is named must be one", () => {
    expect(row({ prompt: "q", answer: NaN, solution: 1.5 })).toMatchObject({ prompt: "q", answer: "1.5" });
    for (const answer of [null, NaN, Infinity, true, ["2"], { value: "2" }])
      expect(row({ prompt: "q", answer }).answer).toBeUndefined();
    expect(() => row({ prompt: "q", a: NaN }, { answer: "a" })).toThrow(
      /field "a": is NaN; accepted: a value in every row/,
    );
    expect(() => row({ prompt: "q", a: ["2"] }, { answer: "a" })).toThrow(
      /DATA_ROW.*field "a": is \["2"\] \(list\); accepted: text or a number/,
    );
  });
  test("X1: a wrong value names place, field, value and what is accepted", () => {
    expect(() => row({ prompt: 5 })).toThrow(/row 1, field "prompt": is 5 \(number\); accepted: text/);
    expect(() => row({ body: "x" })).toThrow(/fields\.prompt/);
  });
});

describe("formats", () => {
  const rows = [
    { prompt: "a,b", answer: "1" },
    { prompt: 'say "x"', answer: "2" },
  ];
  const jsonl = rows.map((each) => JSON.stringify(each)).join("\n");

  test("columns are apart by what the header has most of: commas, semicolons or tabs", async () => {
    const rows = [{ "prompt; a, b": "1,5", answer: "x;y" }];
    for (const [name, delimiter] of [
      ["a.csv", ","],
      ["b.csv", ";"],
      ["c.tsv", "\t"],
    ] as const) {
      const content = `"prompt; a, b"${delimiter}answer\n"1,5"${delimiter}"x;y"\n`;
      const table = await readTable(name, new TextEncoder().encode(content), formatOf(name));
      expect(table.map(({ values }) => values)).toEqual(rows);
    }
  });

  test("an empty cell of CSV is null, quoted or not; an empty text of JSON is a text", async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "a.csv"), 'prompt,answer,hint,\na,1,"",0\nb,,h,1\n');
    const { rows, partial } = await openFileData({ path: "a.csv" }, { baseDir: folder });
    expect(rows).toEqual([
      { prompt: "a", answer: "1", fields: { prompt: "a", answer: "1", hint: null, "": "0" } },
      { prompt: "b", fields: { prompt: "b", answer: null, hint: "h", "": "1" } },
    ]);
    expect(partial).toEqual({ answer: "row 2 of a.csv", hint: "row 1 of a.csv" });
    expect(row({ prompt: "a", answer: "" }).answer).toBe("");
  });

  test("JSON Lines, JSON, CSV and gzip hold the same rows", async () => {
    const folder = temporaryFolder();
    const csv = `prompt,answer\n"a,b",1\n"say ""x""",2\n`;
    const files = {
      "a.jsonl": jsonl,
      "a.json": JSON.stringify(rows),
      "b.json": JSON.stringify({ data: rows }),
      "a.csv": csv,
      "a.jsonl.gz": gzipSync(jsonl),
    };
    const digests = new Set<string>();
    for (const [name, content] of Object.entries(files)) {
      writeFileSync(join(folder, name), content);
      const dataset = await openFileData({ path: name }, { baseDir: folder });
      expect(dataset.rows.map(({ prompt, answer }) => [prompt, answer])).toEqual(
        rows.map(({ prompt, answer }) => [prompt, answer]),
      );
      digests.add(dataset.digest);
    }
    expect(digests.size).toBe(1);
  });
  test("integers of JSON keep their digits: those that no double holds are text, as those of Parquet", async () => {
    const line =
      '{"prompt":"say \\"12345678901234567890\\\\","12345678901234567890":[12345678901234567890, -9007199254740993],' +
      '"near":9007199254740991,"share":0.1234567890123456,"power":1.5e-12345678901234567,"big":12345678901234567890.0}';
    const expected = {
      prompt: 'say "12345678901234567890\\',
      "12345678901234567890": ["12345678901234567890", "-9007199254740993"],
      near: 9007199254740991,
      share: 0.1234567890123456,
      power: 0,
      big: 12345678901234567000,
    };
    for (const [format, content] of [
      ["jsonl", line],
      ["json", `[${line}]`],
    ] as const) {
      const table = await readTable("a", new TextEncoder().encode(content), format);
      expect(table.map(({ values }) => values)).toEqual([expected]);
    }
    // What is no JSON does not become it.
    for (const wrong of ['{12345678901234567890:""}', '{"a":01234567890123456789}', '"12345678901234567890'])
      await expect(readTable("a", new TextEncoder().encode(wrong), "jsonl")).rejects.toThrow(
        /line 1 is no JSON/,
      );
  });
  const digits = fc.constantFrom('"', "\\", ":", ",", "-", " ", "u0022", "12345678901234567890");
  test.prop([fc.array(fc.string({ unit: digits }))])("texts keep their digits as they are", async (a) => {
    const line = JSON.stringify({ a, b: 0 }).replace(/0}$/, "-12345678901234567890}");
    const table = await readTable("a", new TextEncoder().encode(line), "jsonl");
    expect(table[0]?.values).toEqual({ a, b: "-12345678901234567890" });
  });
  test("skip and limit; the digest is of what is left", async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "a.jsonl"), jsonl);
    const [first, second] = [
      await openFileData({ path: "a.jsonl", limit: 1 }, { baseDir: folder }),
      await openFileData({ path: "a.jsonl", skip: 1 }, { baseDir: folder }),
    ];
    expect([first.rows[0]?.answer, second.rows[0]?.answer]).toEqual(["1", "2"]);
    expect(first.digest).not.toBe(second.digest);
  });
  test("a part that every row has is one that a verifier can read in each", async () => {
    const folder = temporaryFolder();
    const values = ['"2"', "2", "null", "true", '["2"]', '{ "value": "2" }'];
    for (const value of values) {
      writeFileSync(join(folder, "a.jsonl"), `{"prompt":"q","answer":"2"}\n{"prompt":"q","answer":${value}}`);
      const { parts, partial } = await openFileData({ path: "a.jsonl" }, { baseDir: folder });
      const isReadable = values.indexOf(value) < 2;
      expect(parts).toEqual(isReadable ? ["prompt", "answer"] : ["prompt"]);
      expect(partial).toEqual(isReadable ? {} : { answer: "line 2 of a.jsonl" });
    }
  });
  test.each([
    ["a.jsonl", '{"prompt": "x"}\n{"prompt": }', /a\.jsonl: line 2 is no JSON/],
    ["a.jsonl", "[1]", /a\.jsonl: line 1 is \[1\] \(list\); accepted: an object/],
    ["a.json", '{"a": 1}', /accepted: a list of objects/],
    ["a.txt", "x", /accepted: \.jsonl/],
    ["a.jsonl", "", /has 0 rows/],
    ["a.parquet", "PAR1 not", /a\.parquet: /],
    ["a.csv", 'prompt\n"open', /a\.csv: /],
  ])("X1: %s with %j is refused by name", async (name, content, message) => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, name), content);
    await expect(openFileData({ path: name }, { baseDir: folder })).rejects.toThrow(message);
  });
  test("X1: a file that is not there", async () => {
    await expect(openFileData({ path: "no.jsonl" }, { baseDir: temporaryFolder() })).rejects.toThrow(
      /no\.jsonl: no such file/,
    );
  });
  test.prop([fc.uint8Array({ maxLength: 200 }), fc.constantFrom("jsonl", "json", "csv", "parquet" as const)])(
    "hostile bytes are an OarlockError or rows",
    async (bytes, format) => {
      const outcome = await readTable("hostile", bytes, format as "csv").then(
        () => "rows",
        (reason: Error) => reason.name,
      );
      expect(["rows", "OarlockError"]).toContain(outcome);
    },
  );
});

const real = [
  ["gsm8k/test.jsonl", 1319, ["prompt", "answer"]],
  ["gsm8k/train.jsonl", 7473, ["prompt", "answer"]],
  ["reasoning-gym/gcd_test.jsonl", 200, ["prompt", "answer"]],
  ["math/math500_orz.json", 500, ["prompt", "answer"]],
  ["math/qwen_svamp_test.jsonl", 1000, ["prompt", "answer"]],
  ["prefs/lf_dpo_en_demo.json", 300, ["prompt", "chosen", "rejected"]],
  ["prefs/lf_kto_en_demo.json", 300, ["prompt", "completion"]],
  ["sft/lf_alpaca_en_demo.json", 999, ["prompt", "completion"]],
  ["hh-rlhf/harmless-base-test.jsonl.gz", 2312, ["prompt", "chosen", "rejected"]],
] as const;

describe("data sets as they are published", () => {
  for (const [path, count, parts] of real) {
    const wanted = requireFile("data", `../shared/data/${path}`);
    test.skipIf(wanted.absent)(`${path}${wanted.note}`, async () => {
      const dataset = await openFileData({ path: wanted.path }, { baseDir: "/" });
      expect(dataset.rows).toHaveLength(count);
      expect(dataset.parts).toEqual(expect.arrayContaining([...parts]));
    });
  }
  const verl = requireFile("data", "../shared/models/verl-digit/data/train.parquet");
  test.skipIf(verl.absent)(`verl's parquet${verl.note}`, async () => {
    const dataset = await openFileData({ path: verl.path }, { baseDir: "/" });
    expect(dataset.rows.length).toBeGreaterThan(0);
    expect(Array.isArray(dataset.rows[0]?.prompt)).toBe(true);
    expect(readFileSync(verl.path).length).toBeGreaterThan(0);
  });
});
