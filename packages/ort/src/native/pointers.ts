/**
 * Addresses, pointer arrays and C strings: the only file that turns JavaScript memory into numbers.
 *
 * An address is valid while the array it came from is alive and not transferred; whoever keeps the number keeps the
 * array beside it (`Pinned`).
 */
import { OarlockError } from "@oarlock/errors";
import type { TypedArray } from "@oarlock/tensor";
import { koffi } from "./stacks.ts";

/** An address in this process; 0n is NULL. */
export type Pointer = bigint;

export const NULL: Pointer = 0n;

/** Native memory with what keeps it alive. */
export interface Pinned {
  readonly address: Pointer;
  /** Held for its lifetime only. */
  readonly backing: unknown;
}

/** The address of a typed array's first element. Reading `.buffer` first moves small arrays out of the moving heap. */
export function addressOf(data: TypedArray | BigUint64Array): Pointer {
  if (data.buffer.byteLength === 0 && data.byteLength !== 0)
    throw new OarlockError("ORT_DETACHED_BUFFER", "the array's buffer is gone");
  return koffi.address(data);
}

/** A NUL-terminated copy of `text`; refuses text with a NUL inside, which C would cut short. */
export function cString(text: string): Pinned {
  if (text.includes("\0"))
    throw new OarlockError("ORT_INVALID_NAME", `a name must not contain NUL: ${JSON.stringify(text)}`);
  const backing = new Uint8Array(Buffer.from(`${text}\0`, "utf8"));
  return { address: addressOf(backing), backing };
}

/** A persistent C array of pointers: marshalled once, passed by address in every call. */
export function pointerArray(pointers: readonly Pointer[], keepAlive?: unknown): Pinned {
  const array = BigUint64Array.from(pointers.length === 0 ? [NULL] : pointers);
  return { address: addressOf(array), backing: [array, keepAlive] };
}

/** A C array of strings. */
export function stringArray(texts: readonly string[]): Pinned {
  const strings = texts.map(cString);
  return pointerArray(
    strings.map((string) => string.address),
    strings,
  );
}

/** The text at a `char *` of native memory. */
export function textAt(pointer: Pointer): string {
  return pointer === NULL ? "" : String(koffi.decode(pointer, "char", -1));
}
