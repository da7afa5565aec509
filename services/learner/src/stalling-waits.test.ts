/** Waits that end before what they wait for has come. */
import { expect, test } from "vitest";
import { createStallingWaits } from "./stalling-waits.ts";

test("giving up ends the waits for what is not there, now and later, and takes what is", async () => {
  const waits = createStallingWaits({
    stall: { warnMs: 10_000, stopMs: 20_000 },
    onStalled: () => undefined,
    heldUp: () => "",
    idleMs: () => 0,
  });
  const { signal } = new AbortController();
  const of = (key: string, there?: string) => ({ key, name: key, get: () => there, who: () => "" });
  const waiting = waits.until(of("a batch"), signal);
  waits.abandon();
  await expect(waiting).rejects.toMatchObject({ code: "STEP_ABANDONED" });
  await expect(waits.until(of("another"), signal)).rejects.toMatchObject({ code: "STEP_ABANDONED" });
  expect(await waits.until(of("a third", "batch"), signal)).toBe("batch");
});
