/** What runs at the same time ends together. */
import { expect, test } from "vitest";
import { allEnded } from "./lanes.ts";

test("an error is told when every run has ended, the first in their order", async () => {
  let isRunning = true;
  const slow = async (): Promise<void> => {
    await new Promise((resolve) => setImmediate(resolve));
    isRunning = false;
  };
  const fail = async (what: string): Promise<void> => {
    throw new Error(what);
  };
  await expect(allEnded([slow(), fail("first"), fail("second")])).rejects.toThrow("first");
  expect(isRunning).toBe(false);
  await expect(allEnded([slow()])).resolves.toBeUndefined();
});
