/** Work in slices: what the loop can do in between. */
import { expect, test } from "vitest";
import { inSlices } from "./in-slices.ts";

/** Keeps the thread busy. */
function spin(milliseconds: number): void {
  const endMs = performance.now() + milliseconds;
  while (performance.now() < endMs);
}

test("gives what there is, in order", async () => {
  expect(await inSlices([1, 2, 3, 4], (item, index) => (item === 3 ? undefined : item * 10 + index))).toEqual(
    [10, 21, 43],
  );
  expect(await inSlices([], (item) => item)).toEqual([]);
});

test("P1: many at once leave the loop as many turns as one would", async () => {
  let [sinceTurn, most] = [0, 0];
  const turn = (): void => {
    most = Math.max(most, sinceTurn);
    sinceTurn = 0;
    next = setImmediate(turn);
  };
  let next = setImmediate(turn);
  const work = (item: number): number => {
    spin(2);
    sinceTurn += 1;
    return item;
  };
  const items = Array.from({ length: 5 }, (_, index) => index);
  const found = await Promise.all(Array.from({ length: 20 }, () => inSlices(items, work)));
  clearImmediate(next);
  expect(found).toEqual(Array.from({ length: 20 }, () => items));
  // Of 2 ms each; slices have 5 ms.
  expect(Math.max(most, sinceTurn)).toBeLessThanOrEqual(6);
});
