import { describe, expect, it } from "vitest";
import { readLastMoment } from "./moment.ts";

describe("the moment to die at", () => {
  it("is none, unless a moment and a count are named", () => {
    expect(readLastMoment({})).toBeUndefined();
    expect(readLastMoment({ OARLOCK_DIE_AT: "policy-stored:5" })).toEqual({
      moment: "policy-stored",
      left: 5,
    });
  });

  it.each(["policy-stored", "policy-stored:0", "lunch:1", ":1"])("X1: is not %s", (value) => {
    expect(() => readLastMoment({ OARLOCK_DIE_AT: value })).toThrow(/SETTING_INVALID.*update-begins, /);
  });
});
