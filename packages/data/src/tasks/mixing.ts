/**
 * Randomness of procedural tasks: a hash of what an example is, so that an example is the same everywhere and for ever,
 * and its side of the train/test split is a property of its content.
 */
import { createHash } from "node:crypto";

/** The first 48 bits of the SHA-256 of `text`, as a number in [0, 1). */
export function fractionOf(text: string): number {
  return createHash("sha256").update(text, "utf8").digest().readUIntBE(0, 6) / 2 ** 48;
}

/** An endless stream of whole numbers, a function of `seed` alone. */
export interface NumberStream {
  /** Uniform in [0, limit), for limits up to 2^32. */
  below(limit: number): number;
}

/** Numbers by counting through SHA-256 digests of the seed. */
export function numberStream(seed: string): NumberStream {
  let block = Buffer.alloc(0);
  let at = 0;
  let counter = 0;
  return {
    below(limit) {
      if (at + 6 > block.length) {
        block = createHash("sha256").update(`${seed}/${counter++}`, "utf8").digest();
        at = 0;
      }
      const value = block.readUIntBE(at, 6);
      at += 6;
      return Math.floor((value / 2 ** 48) * limit);
    },
  };
}
