import { expect, it } from "vitest";
import { matchesPattern } from "./path-pattern.ts";

it.each([
  ["a/b/x.jsonl", "a/**/*.jsonl", true],
  ["a/x.jsonl", "a/**/*.jsonl", true],
  ["a/b/c/x.jsonl", "**", true],
  ["x.jsonl", "**/x.jsonl", true],
  ["b/x.jsonl", "a/**", false],
  ["a/b/x.jsonl", "a/*.jsonl", false],
  ["main/train-00000-of-00001.parquet", "main/train-*", true],
  ["x3.jsonl", "x[0-9].jsonl", true],
  ["xb.jsonl", "x[abc].jsonl", true],
  ["x3.jsonl", "x[!0-9].jsonl", false],
  ["xa.jsonl", "x[!0-9].jsonl", true],
  ["x.jsonl", "x?.jsonl", false],
  ["axjsonl", "a.jsonl", false],
  ["x[1.jsonl", "x[1.jsonl", true],
  ["abcabd", "*ab?", true],
  ["é/ü.csv", "?/?.csv", true],
])("%s against %s: %s", (path, pattern, expected) => expect(matchesPattern(path, pattern)).toBe(expected));

it("a pattern of many stars is answered at once", () => {
  expect(matchesPattern(`${"a".repeat(4_000)}.jsonl`, `${"*a".repeat(200)}b.jsonl`)).toBe(false);
  expect(matchesPattern(`${"a/".repeat(400)}x.jsonl`, `${"**/a/".repeat(100)}y.jsonl`)).toBe(false);
});
