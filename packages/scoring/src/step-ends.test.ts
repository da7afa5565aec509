/** Ends of steps, against a decoding of every prefix. */
import { describe, expect, test } from "vitest";
import { stepEnds } from "./step-ends.ts";

/** Each token is one byte, as in a byte-level vocabulary: a character may be several tokens. */
const decodeBytes = (tokens: readonly number[]): string => new TextDecoder().decode(Uint8Array.from(tokens));
const bytes = (text: string): number[] => [...new TextEncoder().encode(text)];

/** The last token of each prefix that has one more end than the prefix before it, and the last token of all. */
function byPrefixes(completion: readonly number[], end: string): number[] {
  const count = (length: number): number => decodeBytes(completion.slice(0, length)).split(end).length;
  return completion
    .map((_, index) => index)
    .filter((index) => index === completion.length - 1 || count(index + 1) > count(index));
}

describe("the steps of a completion", () => {
  test.each(["\n", "\n\n", "ab", "é\n", "aa", "日"])("end with %j where every prefix says so", (end) => {
    const letters = ["a", "b", "\n", "é", "日", " ", "🙂"];
    for (let seed = 1; seed <= 60; seed++) {
      let state = seed;
      const text = Array.from({ length: seed % 23 }, () => {
        state = (state * 1103515245 + 12345) % 2 ** 31;
        return letters[(state >> 8) % letters.length];
      }).join("");
      const completion = bytes(text);
      expect(stepEnds(completion, { decode: decodeBytes, end }), text).toEqual(byPrefixes(completion, end));
    }
  });

  test("are one where nothing ends one, and none without tokens; several ends in one token are one place", () => {
    const options = { decode: decodeBytes, end: "\n" };
    expect(stepEnds(bytes("abc"), options)).toEqual([2]);
    expect(stepEnds([], options)).toEqual([]);
    const words = ["a\n\nb", "", "\n"];
    const decode = (tokens: readonly number[]) => tokens.map((token) => words[token]).join("");
    expect(stepEnds([0, 1, 2, 1, 1], { decode, end: "\n" })).toEqual([0, 2, 4]);
  });

  test("are found by decoding a few tokens each, also of text that never becomes whole", () => {
    let decoded = 0;
    const decode = (tokens: readonly number[]): string => {
      decoded += tokens.length;
      return decodeBytes(tokens);
    };
    expect(stepEnds([...Array<number>(2_000).fill(0x80), ...bytes("a\nb")], { decode, end: "\n" })).toEqual([
      2_001, 2_002,
    ]);
    expect(decoded).toBeLessThan(2_000 * 64);
  });
});
