import { expect, test } from "vitest";
import { CHECKPOINT_ANNOTATION } from "./names.ts";
import type { Observed } from "./observed.ts";
import { createWishes } from "./wishes.ts";

const KEY = "team/sums";
const conditions = [{ type: "Ready", status: "True" }];
const learner = {
  metadata: { name: "learner", labels: { "oarlock.dev/role": "learner" } },
  status: { phase: "Running", conditions },
};
const annotations = { [CHECKPOINT_ANNOTATION]: "now" };
// What a wish is read from; the rest of what is observed plays no part in it.
const seen = { run: { metadata: { annotations }, status: {} }, pods: [learner] } as unknown as Observed;
const settled = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

test("a wish that the learner refuses is asked for at the next look, and not at once", async () => {
  const answers = [false, true];
  const again: string[] = [];
  const wishes = createWishes({ checkpoint: async () => answers.shift() ?? true }, (key) => again.push(key));
  expect(wishes.carry(KEY, seen)).toBeUndefined();
  await settled();
  expect(again).toEqual([]);
  expect(wishes.carry(KEY, seen)).toBeUndefined();
  await settled();
  expect([again, answers]).toEqual([[KEY], []]);
  expect(wishes.carry(KEY, seen)).toBe("now");
});
