/** D1: which version judges which work follows from the list of replacements and the work's place alone. */
import { describe, expect, test } from "vitest";
import { pendingAt, replacedAt } from "./replacements.ts";
import type { Replacement } from "./replacements.ts";

const to = (version: string, stage: number, step: number, target = "stage/rm"): Replacement => ({
  target,
  stage,
  step,
  version,
});
const list = [to("b", 1, 3), to("other", 1, 0, "grpc host:1/x"), to("c", 1, 9), to("d", 3, 0)];

describe("replacements of scorers", () => {
  test.each<[number, number, string | undefined, string | undefined]>([
    [0, 50, undefined, "b"],
    [1, 2, undefined, "b"],
    [1, 3, "b", "c"],
    [1, 8, "b", "c"],
    [1, 9, "c", "d"],
    [2, 0, "c", "d"],
    [3, 0, "d", undefined],
    [4, 7, "d", undefined],
  ])("stage %d, step %d is judged by %s, and then by %s", (stage, step, current, next) => {
    const at = { stage, step };
    expect(replacedAt(list, "stage/rm", at)?.version).toBe(current);
    expect(pendingAt(list, "stage/rm", at)?.version).toBe(next);
  });
});
