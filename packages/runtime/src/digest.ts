/**
 * SHA-256. Hashing counts as compute (P1): what is big goes through a worker thread in pieces, so that neither the hash nor
 * the copies stop the event loop.
 */
import { createHash } from "node:crypto";
import { Worker } from "node:worker_threads";
import { WorkerClient } from "./worker-client.ts";
import { UNCOLLECTED_BYTES } from "./shared-memory.ts";

/** One update takes less than 2 GiB. */
const UPDATE_BYTES = 1 << 28;

/** SHA-256 in lower-case hex, on the spot: for small values, and in threads that compute. About 0.5 s per GB. */
export function sha256Hex(data: Uint8Array | string): string {
  const hash = createHash("sha256");
  if (typeof data === "string") return hash.update(data).digest("hex");
  for (let at = 0; at < data.length; at += UPDATE_BYTES) hash.update(data.subarray(at, at + UPDATE_BYTES));
  return hash.digest("hex");
}

/** The bytes of a typed array, without a copy. Digests are over little-endian bytes: every supported platform is that. */
export function bytesOf(array: ArrayBufferView): Uint8Array<ArrayBuffer> {
  // SharedArrayBuffer views read alike; the narrower type is what Node's file and crypto calls ask for.
  return new Uint8Array(array.buffer as ArrayBuffer, array.byteOffset, array.byteLength);
}

const ON_THE_SPOT_BYTES = 64 * 1024;
const PIECE_BYTES = 2 * 1024 * 1024;
const PIECE_TIMEOUT_MS = 60_000;

interface HashMethods {
  update(request: { hash: number; piece: Uint8Array }): void;
  finish(request: { hash: number }): string;
}

/** A plain script, so that it runs from sources and from builds alike. */
const HASH_WORKER = `
const { createHash } = require("node:crypto");
const { parentPort } = require("node:worker_threads");
const hashes = new Map();
// As shared-memory.ts: pieces are shared with whoever wants them freed, and weigh nothing in this heap.
require("node:v8").setFlagsFromString("--expose-gc");
const collect = require("node:vm").runInNewContext("gc");
let seen = 0;
const methods = {
  update({ hash, piece }) {
    let state = hashes.get(hash);
    if (state === undefined) hashes.set(hash, (state = createHash("sha256")));
    state.update(piece);
    if ((seen += piece.byteLength) < ${UNCOLLECTED_BYTES}) return;
    seen = 0;
    collect();
  },
  finish({ hash }) {
    const state = hashes.get(hash) ?? createHash("sha256");
    hashes.delete(hash);
    return state.digest("hex");
  },
};
parentPort.on("message", ({ id, method, request }) => parentPort.postMessage({ id, result: methods[method](request) }));
`;

const worker = new WorkerClient<HashMethods>({
  name: "hash worker",
  start: () => new Worker(HASH_WORKER, { eval: true, execArgv: [] }),
});
let nextHash = 1;

/** A running SHA-256 in the hash worker; disposing of one that is not finished frees it there. */
export interface Hasher extends AsyncDisposable {
  /** Adds bytes; they may be written to again when the promise settles. */
  update(data: Uint8Array): Promise<void>;
  /** Lower-case hex; ends the hasher. */
  finish(): Promise<string>;
}

/** Starts a hash off the event loop. */
export function createHasher(): Hasher {
  const hash = nextHash++;
  let finished = false;
  const finish = (): Promise<string> => {
    finished = true;
    return worker.call("finish", { hash }, { timeoutMs: PIECE_TIMEOUT_MS });
  };
  return {
    async update(data) {
      for (let offset = 0; offset < data.byteLength; offset += PIECE_BYTES) {
        const view = data.subarray(offset, offset + PIECE_BYTES);
        const shared = view.buffer instanceof SharedArrayBuffer;
        // Not `slice`: a Buffer's shares its memory, and moving that would take it from its owner.
        const piece = shared ? view : new Uint8Array(view);
        const transfer = shared ? [] : [piece.buffer as ArrayBuffer];
        await worker.call("update", { hash, piece }, { timeoutMs: PIECE_TIMEOUT_MS, transfer });
      }
    },
    finish,
    async [Symbol.asyncDispose]() {
      if (!finished) await finish();
    },
  };
}

/** SHA-256 in lower-case hex of possibly large data, which must not change until the promise settles. */
export async function sha256HexOffLoop(data: Uint8Array, signal?: AbortSignal): Promise<string> {
  if (data.byteLength <= ON_THE_SPOT_BYTES) return sha256Hex(data);
  await using hasher = createHasher();
  for (let offset = 0; offset < data.byteLength; offset += PIECE_BYTES) {
    signal?.throwIfAborted();
    await hasher.update(data.subarray(offset, offset + PIECE_BYTES));
  }
  return await hasher.finish();
}
