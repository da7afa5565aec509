import { expect, test, vi } from "vitest";
import { createHandle } from "./handles.ts";

test("a handle is released once, after its last holder, and refuses use afterwards", () => {
  const free = vi.fn<(pointer: bigint) => void>();
  const handle = createHandle("thing", 16n, free);
  const letGo = handle.hold();
  handle.release();
  handle.release();
  expect(free).not.toHaveBeenCalled();
  expect(() => handle.pointer).toThrow(/ORT_RELEASED.*thing/);
  expect(() => handle.hold()).toThrow(/ORT_RELEASED/);
  letGo();
  letGo();
  expect(free.mock.calls).toEqual([[16n]]);
});

test("a null pointer is no handle", () => {
  expect(() => createHandle("thing", 0n, () => undefined)).toThrow(/ORT_NULL_HANDLE/);
});
