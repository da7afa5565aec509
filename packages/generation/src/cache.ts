/**
 * Keys and values of all layers for a number of rows, in buffers that the graph reads and writes in place, and the
 * copies that start, move and keep sequences. Capacity grows on demand, so short sequences cost short buffers.
 *
 * It knows rows and positions, not what sits in them.
 */
import type { OrtRuntime, OrtTensor } from "@oarlock/ort";
import { cacheNames } from "./decode-graph.ts";
import type { LlamaConfig } from "@oarlock/nn";
import { paddedHeadSize } from "./packed-weights.ts";

/** Capacities are multiples of this, in positions. */
const CAPACITY_STEP = 32;

/** Bytes of the caches of `rows` sequences of `length` tokens, all layers. */
export function cacheBytes(config: LlamaConfig, rows: number, length: number): number {
  const bytesPerNumber = 4;
  return 2 * config.layers * rows * config.kvHeads * length * paddedHeadSize(config) * bytesPerNumber;
}

export class KeyValueCache {
  readonly #config: LlamaConfig;
  readonly #size: number;
  #rows = 0;
  #capacity = 0;
  /** Key, value, key, value, … by layer; each [rows, kvHeads, capacity, padded head size]. */
  #buffers: Float32Array[] = [];

  constructor(config: LlamaConfig) {
    this.#config = config;
    this.#size = paddedHeadSize(config);
  }

  /** Positions that each row holds. */
  get capacity(): number {
    return this.#capacity;
  }

  /** Makes every row hold `length` positions, at most `limit`, keeping what is there. True where the buffers changed. */
  reserve({ rows, length, limit }: { rows: number; length: number; limit: number }): boolean {
    if (length <= this.#capacity && rows <= this.#rows) return false;
    const rounded = Math.ceil(length / CAPACITY_STEP) * CAPACITY_STEP;
    const capacity = Math.max(this.#capacity, Math.min(rounded, limit));
    const { kvHeads, layers } = this.#config;
    const [oldStride, stride] = [this.#capacity * this.#size, capacity * this.#size];
    this.#buffers = Array.from({ length: 2 * layers }, (_, i) => {
      const grown = new Float32Array(rows * kvHeads * stride);
      const old = this.#buffers[i];
      if (!old) return grown;
      for (let block = 0; block < this.#rows * kvHeads; block++) {
        grown.set(old.subarray(block * oldStride, (block + 1) * oldStride), block * stride);
      }
      return grown;
    });
    this.#rows = rows;
    this.#capacity = capacity;
    return true;
  }

  /** The first `rows` rows as inputs and outputs of the graph, with `capacity` positions each: one memory for both. */
  tensors(
    ort: OrtRuntime,
    rows: number,
    capacity: number,
  ): { inputs: Record<string, OrtTensor>; outputs: Record<string, OrtTensor> } {
    const inputs: Record<string, OrtTensor> = {};
    const outputs: Record<string, OrtTensor> = {};
    const shape = [rows, this.#config.kvHeads, capacity, this.#size];
    const length = rows * this.#config.kvHeads * capacity * this.#size;
    this.#buffers.forEach((buffer, i) => {
      const { key, value, keyNext, valueNext } = cacheNames(i >> 1);
      const held = ort.tensor("float32", shape, buffer.subarray(0, length));
      inputs[i % 2 === 0 ? key : value] = held;
      outputs[i % 2 === 0 ? keyNext : valueNext] = held;
    });
    return { inputs, outputs };
  }

  /** Copies `length` positions of a row out, from buffers that were bound with `capacity` positions a row. */
  read({
    row,
    capacity,
    length,
  }: {
    row: number;
    capacity: number;
    length: number;
  }): readonly Float32Array[] {
    const { kvHeads } = this.#config;
    const used = length * this.#size;
    return this.#buffers.map((buffer) => {
      const copy = new Float32Array(kvHeads * used);
      for (let head = 0; head < kvHeads; head++) {
        const start = (row * kvHeads + head) * capacity * this.#size;
        copy.set(buffer.subarray(start, start + used), head * used);
      }
      return copy;
    });
  }

  /** Copies what `read` gave into a row. */
  write(row: number, content: readonly Float32Array[], length: number): void {
    const { kvHeads } = this.#config;
    const used = length * this.#size;
    this.#buffers.forEach((buffer, i) => {
      const source = content[i] ?? buffer;
      for (let head = 0; head < kvHeads; head++) {
        buffer.set(
          source.subarray(head * used, (head + 1) * used),
          (row * kvHeads + head) * this.#capacity * this.#size,
        );
      }
    });
  }

  /** Copies `length` positions of one row to another. */
  move(from: number, to: number, length: number): void {
    const { kvHeads } = this.#config;
    const stride = this.#capacity * this.#size;
    for (const buffer of this.#buffers) {
      for (let head = 0; head < kvHeads; head++) {
        const start = (from * kvHeads + head) * stride;
        buffer.copyWithin((to * kvHeads + head) * stride, start, start + length * this.#size);
      }
    }
  }
}
