/** The table of what follows the end of a child. */
import { describe, expect, it } from "vitest";
import { type ChildExit, MAX_FRUITLESS, verdictOf } from "./restarts.ts";

const exit = (of: Partial<ChildExit>): ChildExit => ({
  role: "actor",
  code: 1,
  signal: undefined,
  fruitless: 1,
  ...of,
});
const exact = { baseMs: 100, maxMs: 5_000, jitter: 0 };

describe("verdictOf", () => {
  it("ends the run with the learner's success, and with nobody else's", () => {
    expect(verdictOf(exit({ role: "learner", code: 0 }))).toEqual({ type: "over" });
    expect(verdictOf(exit({ code: 0 })).type).toBe("restart");
  });

  it("restarts after any other end, later each time that nothing got done", () => {
    const pauses = [1, 2, 3, 20].map((fruitless) => verdictOf(exit({ fruitless }), exact));
    expect(pauses).toEqual([100, 200, 400, 5_000].map((afterMs) => ({ type: "restart", afterMs })));
    expect(verdictOf(exit({ code: undefined, signal: "SIGKILL" })).type).toBe("restart");
  });

  it("gives up on what a restart cannot cure", () => {
    expect(verdictOf(exit({ code: 3 }))).toMatchObject({ type: "give-up", reason: /exit code 3/ });
    const killed = { role: "learner", code: undefined, signal: "SIGKILL" } as const;
    expect(verdictOf(exit({ ...killed, fruitless: MAX_FRUITLESS - 1 })).type).toBe("restart");
    expect(verdictOf(exit({ ...killed, fruitless: MAX_FRUITLESS }))).toMatchObject({
      type: "give-up",
      reason: /10 times without a step \(last: signal SIGKILL\)/,
    });
  });
});
