import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sideOf, TASK_NAMES, taskAlphabet, taskDataset } from "./index.ts";

const bothSides = (name: string, digits: number) => ({
  train: taskDataset(name, { split: "train", digits, limit: 2000 }),
  test: taskDataset(name, { split: "test", digits, limit: 500 }),
});

describe("addition", () => {
  const train = taskDataset("addition");
  const test = taskDataset("addition", { split: "test" });

  it("has all pairs of two-digit numbers, a fifth of them on the test side", () => {
    expect(train.rows.length + test.rows.length).toBe(10_000);
    expect(test.rows.length / 10_000).toBeCloseTo(0.2, 1);
    for (const { prompt, answer, completion, fields } of test.rows) {
      expect(prompt).toBe(`${String(fields["a"])}+${String(fields["b"])}=`);
      expect(Number(answer)).toBe(Number(fields["a"]) + Number(fields["b"]));
      expect(completion).toBe(answer);
    }
  });

  it("keeps a+b and b+a on the same side", () => {
    const prompts = new Set(test.rows.map(({ prompt }) => prompt));
    for (const { fields } of test.rows) {
      expect(prompts).toContain(`${String(fields["b"])}+${String(fields["a"])}=`);
    }
    expect(train.rows.some(({ prompt }) => prompts.has(prompt))).toBe(false);
  });

  it("splits without a pattern: every last digit of a sum is on both sides in fair shares", () => {
    const counts = { train: Array.from({ length: 10 }, () => 0), test: Array.from({ length: 10 }, () => 0) };
    for (const { answer } of train.rows) counts.train[Number(answer) % 10]!++;
    for (const { answer } of test.rows) counts.test[Number(answer) % 10]!++;
    for (let digit = 0; digit < 10; digit++) {
      const share = counts.test[digit]! / (counts.test[digit]! + counts.train[digit]!);
      expect(share).toBeGreaterThan(0.1);
      expect(share).toBeLessThan(0.3);
    }
  });

  it("gives a fair sample when limited: a prefix of the whole, sums of all sizes", () => {
    const few = taskDataset("addition", { split: "test", limit: 64 });
    expect(few.rows).toEqual(test.rows.slice(0, 64));
    const sums = few.rows.map(({ answer }) => Number(answer));
    expect(Math.min(...sums)).toBeLessThan(60);
    expect(Math.max(...sums)).toBeGreaterThan(140);
    expect(few.digest).not.toBe(test.digest);
  });

  it("draws pairs of longer numbers", () => {
    const long = taskDataset("addition", { digits: 9, limit: 100 });
    expect(long.rows).toHaveLength(100);
    expect(Math.max(...long.rows.map(({ answer }) => String(answer).length))).toBeGreaterThan(8);
  });

  it("D1: is the same on every machine", () => {
    expect(taskDataset("addition").digest).toBe(train.digest);
    expect(train.digest).toBe("36324e2195d176457c8d03c5ecf5bc2de0f009aba8eb028003d62ebc11c05662");
  });
});

describe("every task", () => {
  it.each(TASK_NAMES)("%s: sides apart, prompts distinct, within its alphabet, answers right", (name) => {
    const { train, test } = bothSides(name, 6);
    expect(train.rows).toHaveLength(2000);
    expect(test.rows).toHaveLength(500);
    const prompts = [...train.rows, ...test.rows].map(({ prompt }) => JSON.stringify(prompt));
    expect(new Set(prompts).size).toBe(2500);
    const alphabet = new Set(taskAlphabet(name));
    const used = new Set(
      [...train.rows, ...test.rows].flatMap((row) =>
        Array.from(typeof row.prompt === "string" ? `${row.prompt}${row.answer}` : "?"),
      ),
    );
    expect([...used].filter((character) => !alphabet.has(character))).toEqual([]);
  });

  it("solves its examples", () => {
    const first = (name: string) => taskDataset(name, { digits: 5, limit: 50 }).rows;
    for (const { fields, answer } of first("reverse-text")) {
      expect(answer).toBe(Array.from(String(fields["text"])).toReversed().join(""));
    }
    for (const { fields, answer } of first("copy-text")) expect(answer).toBe(fields["text"]);
    for (const { fields, answer } of first("sort-letters")) {
      expect(answer).toBe(Array.from(String(fields["text"])).toSorted().join(""));
    }
    for (const { fields, answer } of first("count-letter")) {
      expect(Number(answer)).toBe(
        Array.from(String(fields["text"])).filter((c) => c === fields["letter"]).length,
      );
    }
  });

  it("has a side for each key, by the key alone", () => {
    fc.assert(
      fc.property(fc.string(), (key) => {
        expect(["train", "test"]).toContain(sideOf("addition", key));
        expect(sideOf("addition", key)).toBe(sideOf("addition", key));
      }),
    );
  });

  it("X1: refuses an unknown task and a wrong size", () => {
    expect(() => taskDataset("sums")).toThrow(/DATA_TASK.*"sums"; accepted: addition, reverse-text/);
    expect(() => taskDataset("addition", { digits: 10 })).toThrow(/digits 10 .* accepted: 1 to 9/);
    expect(() => taskDataset("toString")).toThrow(/DATA_TASK/);
  });
});
