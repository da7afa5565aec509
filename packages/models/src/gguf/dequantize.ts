/**
 * GGUF's blocks of 32 weights to float32, pure and in place of the caller's choosing: compute (P1), to be called in a
 * worker for anything large. Formulas: https://github.com/ggml-org/llama.cpp (ggml-quants.c, `dequantize_row_*`).
 */
import { OarlockError } from "@oarlock/errors";
import { bfloat16ToFloat32, float16ToFloat32 } from "@oarlock/tensor";

/** Storage types that are read, by their number in GGUF. */
export const STORAGE_TYPES = { F32: 0, F16: 1, Q4_0: 2, Q4_1: 3, Q8_0: 8, BF16: 30 } as const;
export type StorageType = keyof typeof STORAGE_TYPES;

interface Storage {
  /** Weights of one block. */
  readonly blockElements: number;
  readonly blockBytes: number;
  /** Turns whole blocks into `target`, which has their number of elements. */
  read(source: DataView, target: Float32Array): void;
}

const BLOCK = 32;

/** Every binary16 value, by its bits: made with the first block that is read. */
let halves: Float32Array | undefined;
function half(source: DataView, at: number): number {
  halves ??= float16ToFloat32(Uint16Array.from({ length: 65_536 }, (_, bits) => bits));
  return halves[source.getUint16(at, true)] ?? 0;
}

/** Blocks of 16 bytes of nibbles after `headBytes`: the low ones are the first 16 weights, the high ones the rest. */
function readNibbles(
  headBytes: number,
  scaleOf: (source: DataView, at: number) => readonly [number, number],
) {
  const blockBytes = headBytes + BLOCK / 2;
  return (source: DataView, target: Float32Array): void => {
    for (let block = 0; block * BLOCK < target.length; block++) {
      const at = block * blockBytes;
      const [scale, offset] = scaleOf(source, at);
      const out = block * BLOCK;
      for (let i = 0; i < BLOCK / 2; i++) {
        const byte = source.getUint8(at + headBytes + i);
        target[out + i] = scale * (byte & 0xf) + offset;
        target[out + BLOCK / 2 + i] = scale * (byte >> 4) + offset;
      }
    }
  };
}

const words = (source: DataView, count: number): Uint16Array =>
  Uint16Array.from({ length: count }, (_, i) => source.getUint16(2 * i, true));

const storages: { readonly [T in StorageType]: Storage } = {
  F32: {
    blockElements: 1,
    blockBytes: 4,
    read(source, target) {
      for (let i = 0; i < target.length; i++) target[i] = source.getFloat32(4 * i, true);
    },
  },
  F16: {
    blockElements: 1,
    blockBytes: 2,
    read: (source, target) => target.set(float16ToFloat32(words(source, target.length))),
  },
  BF16: {
    blockElements: 1,
    blockBytes: 2,
    read: (source, target) => target.set(bfloat16ToFloat32(words(source, target.length))),
  },
  /** d, then nibbles n: (n − 8)·d. */
  Q4_0: {
    blockElements: BLOCK,
    blockBytes: 18,
    read: readNibbles(2, (source, at) => {
      const scale = half(source, at);
      return [scale, -8 * scale];
    }),
  },
  /** d and m, then nibbles n: n·d + m. */
  Q4_1: {
    blockElements: BLOCK,
    blockBytes: 20,
    read: readNibbles(4, (source, at) => [half(source, at), half(source, at + 2)]),
  },
  /** d, then 32 signed bytes q: q·d. */
  Q8_0: {
    blockElements: BLOCK,
    blockBytes: 34,
    read(source, target) {
      for (let i = 0; i < target.length; i++) {
        const at = Math.floor(i / BLOCK) * 34;
        target[i] = half(source, at) * source.getInt8(at + 2 + (i % BLOCK));
      }
    },
  },
};

const byNumber = new Map<number, StorageType>(
  // Object.entries forgets which keys there are.
  Object.entries(STORAGE_TYPES).map(([name, number]) => [number, name as StorageType]),
);

/** The type of a number in a GGUF header; `undefined` for one that is not read (Q4_K, IQ2_XS, …). */
export function storageType(number: number): StorageType | undefined {
  return byNumber.get(number);
}

/** Bytes of `elements` weights; `undefined` where they make no whole blocks. */
export function storedBytes(type: StorageType, elements: number): number | undefined {
  const { blockElements, blockBytes } = storages[type];
  return elements % blockElements === 0 ? (elements / blockElements) * blockBytes : undefined;
}

/** Fills `target` from the stored bytes of as many weights. Throws `MODEL_GGUF` where sizes do not match. */
export function dequantize(type: StorageType, bytes: Uint8Array, target: Float32Array): void {
  const expected = storedBytes(type, target.length);
  if (expected !== bytes.length) {
    throw new OarlockError(
      "MODEL_GGUF",
      `${bytes.length} bytes of ${type} for ${target.length} weights; accepted: ${expected ?? "whole blocks"}`,
    );
  }
  storages[type].read(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), target);
}
