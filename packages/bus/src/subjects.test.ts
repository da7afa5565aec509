/** Names of a run: the uid is in all of them; patterns match and overlap as NATS says. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { groupMessageId, readGroupMessageId, subjectMatches, subjects, subjectsOverlap } from "./subjects.ts";

const token = fc.constantFrom("a", "b", "*", ">");
const pattern = fc
  .array(token, { minLength: 1, maxLength: 4 })
  .map((tokens) =>
    tokens.map((one, index) => (one === ">" && index < tokens.length - 1 ? "a" : one)).join("."),
  );
const subject = fc
  .array(fc.constantFrom("a", "b"), { minLength: 1, maxLength: 4 })
  .map((tokens) => tokens.join("."));

describe("subjects", () => {
  it("carry the uid everywhere but in keys of its own buckets", () => {
    const { policyPointerKey, runStateKey, folderKey, ...names } = subjects("4f2a-7");
    for (const name of Object.values(names)) expect(name).toContain("4f2a-7");
    expect([policyPointerKey, runStateKey, folderKey]).toEqual(["policy", "run", "folder"]);
  });

  it.each(["", "a.b", "a b", "a_B", "*", ">", "x".repeat(65)])("refuse the uid %j", (uid) => {
    expect(() => subjects(uid)).toThrow(/BUS_NAME_INVALID/);
  });

  it("match as NATS does", () => {
    expect(subjectMatches("a.*.c", "a.b.c")).toBe(true);
    expect(subjectMatches("a.*", "a.b.c")).toBe(false);
    expect(subjectMatches("a.>", "a.b.c")).toBe(true);
    expect(subjectMatches("a.>", "a")).toBe(false);
    expect(subjectMatches("a", "a.b")).toBe(false);
  });

  it("overlap exactly when some subject matches both", () => {
    fc.assert(
      fc.property(pattern, pattern, subject, (left, right, name) => {
        expect(subjectsOverlap(left, right)).toBe(subjectsOverlap(right, left));
        const both = subjectMatches(left, name) && subjectMatches(right, name);
        expect(both && !subjectsOverlap(left, right)).toBe(false);
      }),
    );
    expect(subjectsOverlap("a.b", "a.c")).toBe(false);
    expect(subjectsOverlap("a.*", "a.b.>")).toBe(false);
  });

  it("T1: two groups, draws or incarnations never share a message id", () => {
    const part = fc.record({
      stage: fc.nat(3),
      step: fc.nat(3),
      group: fc.nat(3),
      draw: fc.nat(3),
      incarnation: fc.nat(3),
    });
    fc.assert(
      fc.property(part, part, (left, right) => {
        const id = ({ incarnation, ...group }: typeof left): string =>
          groupMessageId({ runUid: "r", ...group }, incarnation, "0");
        expect(id(left) === id(right)).toBe(JSON.stringify(left) === JSON.stringify(right));
        const { incarnation, ...group } = left;
        const read = { group: { runUid: "r", ...group }, incarnation, part: "0" };
        expect(readGroupMessageId(id(left))).toEqual(read);
      }),
    );
  });
});
