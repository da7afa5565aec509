/** Pins the size of the stacks: at 64 KiB one matrix product over a runtime input ends in a segfault, 128 KiB leaves no margin. */
import { expect, test } from "vitest";
import { koffi } from "./stacks.ts";

test("asynchronous native calls have megabytes of stack, not koffi's 128 KiB", () => {
  const { async_stack_size: asyncBytes, sync_stack_size: syncBytes } = koffi.config();
  expect(asyncBytes).toBeGreaterThanOrEqual(4 << 20);
  expect(syncBytes).toBeGreaterThanOrEqual(4 << 20);
});
