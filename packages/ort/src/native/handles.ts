/**
 * Ownership of native objects: each is released exactly once, never while something uses it, never used afterwards.
 *
 * A handle counts its holders. The creator is the first; a binding that uses a tensor is another. `release` ends the
 * creator's hold and forbids new use; the native object goes when the last holder lets go.
 */
import { OarlockError } from "@oarlock/errors";
import { NULL, type Pointer } from "./pointers.ts";

export interface Handle {
  /** The address, or an error after `release`. */
  readonly pointer: Pointer;
  readonly released: boolean;
  /** Another holder; refused after release. Returns the function that lets go (idempotent). */
  hold(): () => void;
  /** Ends the creator's hold (idempotent). */
  release(): void;
}

/** Wraps `pointer`; `free` runs once, when the last holder has let go. `backing` lives as long as the native object. */
export function createHandle(
  what: string,
  pointer: Pointer,
  free: (pointer: Pointer) => void,
  backing?: unknown,
): Handle {
  if (pointer === NULL) throw new OarlockError("ORT_NULL_HANDLE", `ONNX Runtime returned no ${what}`);
  let holders = 1;
  let released = false;
  let kept: unknown = backing;
  const letGo = (): void => {
    holders -= 1;
    if (holders > 0) return;
    free(pointer);
    kept = undefined;
  };
  const assertLive = (): void => {
    if (released) throw new OarlockError("ORT_RELEASED", `${what} was released`);
  };
  return {
    get pointer() {
      assertLive();
      return pointer;
    },
    get released() {
      return released || (kept === undefined && holders === 0);
    },
    hold() {
      assertLive();
      holders += 1;
      let held = true;
      return () => {
        if (!held) return;
        held = false;
        letGo();
      };
    },
    release() {
      if (released) return;
      released = true;
      letGo();
    },
  };
}
