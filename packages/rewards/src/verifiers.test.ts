import { fc, test } from "@fast-check/vitest";
import { describe, expect } from "vitest";
import { applyReward, defineReward } from "./define-reward.ts";
import { failed, scored, scoredTokens, type ScoringInput } from "./verdict.ts";
import { createVerifier } from "./verifier.ts";
import { extractNumber, parseNumber } from "./verifiers/numeric.ts";

const input = (completion: string, fields: Record<string, unknown> = {}): ScoringInput => ({
  prompt: "",
  completion,
  completionTokens: 3,
  fields,
  truncated: false,
});
const one = { type: "scored", value: 1 };
const zero = { type: "scored", value: 0 };

describe("exact", () => {
  const verify = createVerifier("exact", { field: "answer", caseSensitive: false, trim: true });
  test("compares the whole text", () => {
    expect(verify(input(" Paris ", { answer: "paris" }))).toEqual(one);
    expect(verify(input("Paris!", { answer: "Paris" }))).toEqual(zero);
    expect(verify(input("46", { answer: 46 }))).toEqual(one);
  });
  test("S1: a row without the answer is a failure that says what the row holds, not a 0", () => {
    expect(verify(input("x", { result: "y" }))).toMatchObject({
      type: "failed",
      code: "FIELD_MISSING",
      reason: expect.stringContaining("result"),
    });
  });
});

test("contains: literal text, or the row's", () => {
  const happy = createVerifier("contains", { text: " happy", field: "answer", caseSensitive: true });
  expect(happy(input("was happy."))).toEqual(one);
  expect(happy(input("unhappy"))).toEqual(zero);
  const answer = createVerifier("contains", { text: "", field: "answer", caseSensitive: true });
  expect(answer(input("it is 4", { answer: "4" }))).toEqual(one);
  expect(answer(input("it is 4", { answer: "" }))).toMatchObject({ type: "failed", code: "ANSWER_EMPTY" });
});

describe("contains, like the language's own search", () => {
  const contains = createVerifier("contains", { text: "", field: "answer", caseSensitive: true });
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "😀"), maxLength: 12 });
  test.prop([letters, letters.filter((part) => part !== "")])("finds a part", (text, answer) => {
    expect(contains(input(text, { answer }))).toEqual(text.includes(answer) ? one : zero);
  });
  test("P1: but in time in proportion to the texts, whatever they say", () => {
    const half = "a".repeat(50_000); // the language's own search takes half a minute, and the test has five seconds
    expect(contains(input("a".repeat(1_000_000), { answer: `${half}b${half}` }))).toEqual(zero);
  });
});

test("regex", () => {
  const verify = createVerifier("regex", { pattern: "^\\d+$", flags: "" });
  expect([verify(input("42")), verify(input("42a"))]).toEqual([one, zero]);
});

describe("numbers", () => {
  test.each([
    ["1,234.5", 1234.5],
    ["-3/4", -0.75],
    ["−2", -2],
    ["12%", 0.12],
    ["$40", 40],
    ["\\frac{3}{4}", 0.75],
    ["-\\dfrac{1}{2}", -0.5],
    ["2.5e3", 2500],
    ["7.", 7],
    ["$\\frac{1}{3}$", 1 / 3],
    ["\\frac43", 4 / 3],
    ["\\frac 59", 5 / 9],
    ["1\\frac{4}{5}", 1.8],
    ["137 \\frac{1}{2}", 137.5],
    ["11\\sqrt2", 11 * Math.SQRT2],
    ["-\\frac{\\pi}{6}", -Math.PI / 6],
    ["\\frac{3\\sqrt{3}}{4}", (3 * Math.sqrt(3)) / 4],
    ["2 \\cdot 3", 6],
    ["11,\\! 111,\\! 100", 11_111_100],
    ["11{,}111", 11_111],
    ["90^\\circ", 90],
    ["864 \\mbox{ inches}^2", 864],
    ["\\frac{270}7\\text{ degrees}", 270 / 7],
    ["x = -5", -5],
    ["\\$18.90", 18.9],
    ["10\\%", 0.1],
    [".5", 0.5],
  ])("%s is %d", (text, value) => expect(parseNumber(text)).toBeCloseTo(value, 12));

  // An answer that leaves the work undone, or that is no number, has no value.
  test.each([
    "",
    "seven",
    "1,23",
    "1/0",
    "--3",
    "1 2",
    "5-3",
    "16 - 3 - 4",
    "52_8",
    "2k",
    "1 \\pm \\sqrt{19}",
    "\\sqrt{-1}",
    "\\frac{1}{0}",
    "3, 5, 7",
    "(-2,1)",
    "10^5",
    "1e400",
    "\\sqrt{".repeat(5000),
  ])("%j is none", (text) => expect(parseNumber(text)).toBeUndefined());

  test.prop([fc.integer({ min: -1e9, max: 1e9 })])("an integer survives thousands separators", (value) => {
    expect(parseNumber(value.toLocaleString("en-US"))).toBe(value);
  });

  test("extraction", () => {
    expect(extractNumber("6 + 7 = 13. So 13", "last-number")).toBe(13);
    expect(extractNumber("on pages 12-15", "last-number")).toBe(15);
    expect(extractNumber("so it is -15", "last-number")).toBe(-15);
    expect(extractNumber("about 1.5e3", "last-number")).toBe(1500);
    expect(extractNumber("so \\boxed{\\frac{1}{2}} or \\boxed{5}", "boxed")).toBe(5);
    expect(extractNumber("…\n#### 1,080", "hashes")).toBe(1080);
    expect(extractNumber("no mark 5", "hashes")).toBeUndefined();
  });

  test("compares within tolerances, and an answer that is no number is a failure", () => {
    const verify = createVerifier("numeric", {
      field: "answer",
      extract: "last-number",
      absoluteTolerance: 1e-6,
      relativeTolerance: 0,
    });
    expect(verify(input("it is 18", { answer: "… #### 18" }))).toMatchObject(one);
    expect(verify(input("it is 17", { answer: "18" }))).toMatchObject(zero);
    expect(verify(input("none", { answer: "18" }))).toMatchObject(zero);
    expect(verify(input("5", { answer: "five" }))).toMatchObject({ type: "failed" });
    // The expected text is a whole expression before it is a text with numbers in it.
    expect(verify(input("so 3", { answer: "2\\sqrt{3}" }))).toMatchObject(zero);
  });

  const last = createVerifier("numeric", {
    field: "answer",
    extract: "last-number",
    absoluteTolerance: 1e-6,
    relativeTolerance: 0,
  });

  test.each([
    "The answer is 18.",
    "18 apples",
    "it costs $18 in all",
    "Answer: **18**",
    "18 %",
    "9 + 9 = 18.\nA: 18",
    "He has 3 * 6 apples. That makes 18.",
  ])("an expected sentence with one number means it: %j", (answer) =>
    expect(last(input("so 18", { answer }))).toMatchObject(one),
  );

  test.each([
    "(15,-29)",
    "x^3+3x-6",
    "3, 5, 7",
    "52_8",
    "n+1",
    "f(2)",
    "[0, 5]",
    "p - 2",
    "2\\theta",
    "12-15",
  ])("of an expected text that is no number none is taken: %j", (answer) =>
    expect(last(input("so -29 -6 7 8 1 2 5 15", { answer }))).toMatchObject({ type: "failed" }),
  );

  test("a percent sign that only one side has may be left out, and counts where both have it", () => {
    expect(last(input("so it is 60%", { answer: "… #### 60" }))).toMatchObject(one);
    expect(last(input("so it is 60", { answer: "60%" }))).toMatchObject(one);
    expect(last(input("so it is 0.6", { answer: "60%" }))).toMatchObject(one);
    expect(last(input("so it is 60%", { answer: "0.6" }))).toMatchObject(one);
    expect(last(input("so it is 6%", { answer: "60" }))).toMatchObject(zero);
    expect(last(input("so it is 6%", { answer: "600%" }))).toMatchObject(zero);
  });
});

test("format: the tags in their order and nothing else", () => {
  const verify = createVerifier("format", { tags: ["think", "answer"] });
  expect(verify(input("<think>a</think>\n<answer>b</answer>"))).toMatchObject(one);
  for (const wrong of [
    "<answer>b</answer><think>a</think>",
    "<think>a</think> x <answer>b</answer>",
    "<think>a<answer>b</answer>",
    "",
  ]) {
    expect(verify(input(wrong)), wrong).toMatchObject(zero);
  }
});

test.prop([fc.nat(60)])("length falls linearly outside of its range", (size) => {
  const verify = createVerifier("length", { unit: "characters", min: 10, max: 20, softness: 10 });
  const expected = size < 10 ? size / 10 : size > 20 ? Math.max(0, 1 - (size - 20) / 10) : 1;
  const verdict = verify(input("x".repeat(size)));
  expect(verdict.type === "scored" ? verdict.value : Number.NaN).toBeCloseTo(expected, 12);
});

describe("reward functions (S1)", () => {
  test("numbers, explained numbers and failures pass", async () => {
    expect(
      await applyReward(
        defineReward(() => 0.5),
        input("x"),
      ),
    ).toEqual({ type: "scored", value: 0.5 });
    expect(
      await applyReward(
        defineReward(async () => ({ value: 2, explanation: "why" })),
        input("x"),
      ),
    ).toMatchObject({ explanation: "why" });
    expect(
      await applyReward(
        defineReward(() => failed("X", "no judge")),
        input("x"),
      ),
    ).toMatchObject({ type: "failed", reason: "no judge" });
  });
  test.each([[Number.NaN], [Number.POSITIVE_INFINITY], ["1"], [undefined], [null], [{}]])(
    "%j is a failure",
    async (result) => {
      const verdict = await applyReward(() => result as number, input("x"));
      expect(verdict.type).toBe("failed");
    },
  );
  test("what cannot be written as JSON is a wrong result, and not thrown", async () => {
    const big = await applyReward(() => 1n as never, input("x"));
    expect(big).toMatchObject({ code: "REWARD_RESULT", reason: expect.stringMatching(/got 1n$/) as string });
    const inner = await applyReward(() => ({ value: 1n }) as never, input("x"));
    expect(inner).toMatchObject({ code: "REWARD_RESULT" });
  });
  test("an explanation that is undefined is none", async () => {
    const verdict = await applyReward(() => ({ value: 1, explanation: undefined }) as never, input("x"));
    expect(verdict).toEqual({ type: "scored", value: 1 });
  });
  test("what it throws is a failure", async () => {
    const verdict = await applyReward(() => {
      throw new TypeError("broken");
    }, input("x"));
    expect(verdict).toMatchObject({ type: "failed", code: "REWARD_THREW", reason: "TypeError: broken" });
  });
});

test.each([
  [Number.NaN, "the scorer returned NaN"],
  [-Infinity, "the scorer returned -Infinity"],
  [1e200, "the scorer returned 1e+200, which is beyond float32"],
])("S1: %s is no score, of a sample or of a token", (value, reason) => {
  expect(scored(value)).toEqual(failed("VALUE_NOT_FINITE", reason));
  const places = { positions: [2, 3], values: [1, value] };
  expect(scoredTokens(places, { promptLength: 2, completionTokens: 2 })).toEqual(
    failed("VALUE_NOT_FINITE", reason.replace(/$/, " for a token")),
  );
});

test("S1: the largest float32 is a score; twice that is none, also as a sum", () => {
  const largest = 3.4028234663852886e38;
  expect(scored(largest)).toEqual({ type: "scored", value: largest });
  const places = { positions: [0, 1], values: [largest, largest] };
  expect(scoredTokens(places, { promptLength: 0, completionTokens: 2 })).toMatchObject({
    code: "VALUE_NOT_FINITE",
  });
});
