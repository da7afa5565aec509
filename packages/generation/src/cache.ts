/**
 * Keys and values of all layers for a number of rows, in memory that the graph reads and writes in place, and the
 * copies that start, move and keep sequences. Capacity grows on demand, so short sequences cost short buffers.
 *
 * It knows rows and positions, not what sits in them.
 */
import type { LlamaConfig } from "@oarlock/nn";
import type { OrtTensor } from "@oarlock/ort";
import { cacheNames } from "./decode-graph.ts";
import { paddedHeadSize } from "./packed-weights.ts";
import type { Memory, Move, Storage } from "./storage.ts";

/** Capacities are multiples of this, in positions. */
const CAPACITY_STEP = 32;

/** Bytes of the caches of `rows` sequences of `length` tokens, all layers. */
export function cacheBytes(config: LlamaConfig, rows: number, length: number): number {
  const bytesPerNumber = 4;
  return 2 * config.layers * rows * config.kvHeads * length * paddedHeadSize(config) * bytesPerNumber;
}

/** Keys and values of one sequence: key, value, key, value, … by layer; each [kvHeads, length, padded head size]. */
export interface KeptSequence {
  readonly memory: readonly Memory[];
  /** Ends them. */
  release(): void;
}

export class KeyValueCache {
  readonly #config: LlamaConfig;
  readonly #storage: Storage<Memory>;
  readonly #size: number;
  #rows = 0;
  #capacity = 0;
  /** Key, value, key, value, … by layer; each [rows, kvHeads, capacity, padded head size]. */
  #buffers: Memory[] = [];

  constructor(config: LlamaConfig, storage: Storage<Memory>) {
    this.#config = config;
    this.#storage = storage;
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
    const blocks = Array.from({ length: this.#rows * kvHeads }, (_, block) => block);
    this.#buffers = Array.from({ length: 2 * layers }, (_, i) => {
      // Hidden positions are read too, with weight 0: 0 · NaN, of memory that nobody wrote, would be NaN.
      const grown = this.#storage.zeros(rows * kvHeads * stride);
      const old = this.#buffers[i];
      if (old === undefined) return grown;
      const move = { from: old, to: grown, count: oldStride };
      this.#storage.copy(blocks.map((block) => ({ ...move, start: block * oldStride, at: block * stride })));
      this.#storage.release(old);
      return grown;
    });
    this.#rows = rows;
    this.#capacity = capacity;
    return true;
  }

  /** The first `rows` rows as inputs and outputs of the graph, with `capacity` positions each: one memory for both. */
  tensors(
    rows: number,
    capacity: number,
  ): { inputs: Record<string, OrtTensor>; outputs: Record<string, OrtTensor> } {
    const inputs: Record<string, OrtTensor> = {};
    const outputs: Record<string, OrtTensor> = {};
    const shape = [rows, this.#config.kvHeads, capacity, this.#size];
    this.#buffers.forEach((buffer, i) => {
      const { key, value, keyNext, valueNext } = cacheNames(i >> 1);
      const held = this.#storage.tensor(buffer, shape);
      inputs[i % 2 === 0 ? key : value] = held;
      outputs[i % 2 === 0 ? keyNext : valueNext] = held;
    });
    return { inputs, outputs };
  }

  /** Copies `length` positions of a row out, from buffers that were bound with `capacity` positions a row. */
  read({ row, capacity, length }: { row: number; capacity: number; length: number }): KeptSequence {
    const used = length * this.#size;
    const memory = this.#buffers.map(() => this.#storage.allocate(this.#config.kvHeads * used));
    const stride = capacity * this.#size;
    this.#copyHeads(memory, (buffer, copy, head) => ({
      from: buffer,
      start: (row * this.#config.kvHeads + head) * stride,
      to: copy,
      at: head * used,
      count: used,
    }));
    return { memory, release: () => memory.forEach((copy) => this.#storage.release(copy)) };
  }

  /** Copies what `read` gave into a row. */
  write(row: number, { memory }: KeptSequence, length: number): void {
    const used = length * this.#size;
    this.#copyHeads(memory, (buffer, copy, head) => ({
      from: copy,
      start: head * used,
      to: buffer,
      at: (row * this.#config.kvHeads + head) * this.#capacity * this.#size,
      count: used,
    }));
  }

  /** Copies `length` positions of one row to another. */
  move(from: number, to: number, length: number): void {
    const { kvHeads } = this.#config;
    const stride = this.#capacity * this.#size;
    if (this.#storage.prefersLongMoves) {
      // From the first head's first position to the last head's last one: what lies between is hidden in both rows.
      const count = (kvHeads - 1) * stride + length * this.#size;
      const [start, at] = [from * kvHeads * stride, to * kvHeads * stride];
      this.#storage.copy(this.#buffers.map((buffer) => ({ from: buffer, start, to: buffer, at, count })));
      return;
    }
    this.#copyHeads(this.#buffers, (buffer, _, head) => ({
      from: buffer,
      start: (from * kvHeads + head) * stride,
      to: buffer,
      at: (to * kvHeads + head) * stride,
      count: length * this.#size,
    }));
  }

  close(): void {
    for (const buffer of this.#buffers) this.#storage.release(buffer);
    this.#buffers = [];
    this.#rows = 0;
    this.#capacity = 0;
  }

  /** One move for each head of each buffer, beside the memory of the same index. */
  #copyHeads(
    beside: readonly Memory[],
    move: (buffer: Memory, beside: Memory, head: number) => Move<Memory>,
  ): void {
    const { kvHeads } = this.#config;
    this.#storage.copy(
      this.#buffers.flatMap((buffer, i) =>
        Array.from({ length: kvHeads }, (_, head) => move(buffer, beside[i] ?? buffer, head)),
      ),
    );
  }
}
