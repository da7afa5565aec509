import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isOarlockError } from "@oarlock/errors";
import { requireFile, temporaryFolder } from "@oarlock/testkit";
import { createTokenizer } from "@oarlock/tokenizer";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { loadLlama2c, loadModelFolder } from "./index.ts";
import { readLlama2cTokenizer } from "./llama2c-tokenizer.ts";

/** dim, hidden dim, layers, heads, key-value heads, vocabulary, sequence length. */
type Head = readonly [number, number, number, number, number, number, number];

const elementsOf = ([D, F, L, H, KV, V, T]: Head): number => {
  const K = (D / H) * KV;
  const layer = 2 * D + 2 * D * D + 2 * K * D + 3 * F * D;
  return Math.abs(V) * D * (V > 0 ? 1 : 2) + L * layer + D + (T * D) / H;
};
function checkpoint(head: Head, elements = elementsOf(head)): string {
  const path = join(temporaryFolder("llama2c"), "model.bin");
  const weights = Float32Array.from({ length: elements }, (_, i) => i);
  writeFileSync(
    path,
    Buffer.concat([Buffer.from(Int32Array.from(head).buffer), Buffer.from(weights.buffer)]),
  );
  return path;
}

const small: Head = [8, 12, 2, 2, 1, 16, 4];

describe("a llama2.c checkpoint", () => {
  it("with a head of its own is untied", async () => {
    const read = await loadLlama2c(checkpoint([8, 12, 1, 2, 2, -16, 4]));
    expect(read.config).toMatchObject({ vocabSize: 16, tiedEmbeddings: false, headSize: 4, maxPositions: 4 });
    expect(read.weights.includes(elementsOf([8, 12, 1, 2, 2, -16, 4]) - 1)).toBe(true);
    expect(read.tokenizer).toBeUndefined();
  });

  it.each<[Head, number, RegExp]>([
    [small, elementsOf(small) - 1, /MODEL_LLAMA2C.*describes \d+ bytes, it has \d+/],
    [small, elementsOf(small) + 1, /describes/],
    [[0, 12, 2, 2, 1, 16, 4], 10, /its dim is 0; accepted: 1 to/],
    [[8, 12, -1, 2, 1, 16, 4], 10, /its number of layers is -1/],
    [[8, 12, 2, 2, 3, 16, 4], 10, /number of key-value heads is 3; accepted: 1 to 2/],
    [[8, 12, 2, 2, 1, 0, 4], 10, /its vocabulary is 0/],
    [[262_144, 262_144, 1024, 1, 1, 4_000_000, 4], 10, /describes/],
    [[9, 12, 2, 2, 1, 16, 4], 10, /headSize is 4\.5/],
  ])(
    "X1: head %j with %i numbers is refused before anything is allocated",
    async (head, elements, reason) => {
      await expect(loadLlama2c(checkpoint(head, elements))).rejects.toThrow(reason);
    },
  );

  it("X1: is more than a few bytes", async () => {
    const path = join(temporaryFolder("llama2c"), "model.bin");
    writeFileSync(path, "x");
    await expect(loadLlama2c(path)).rejects.toThrow(/no llama2\.c checkpoint: it has 1 bytes/);
  });
});

describe("X1: a llama2.c tokenizer, whatever its bytes,", () => {
  it("is read or refused: nothing else is thrown", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 8 }), (bytes, vocabSize) => {
        const read = () => createTokenizer(readLlama2cTokenizer(bytes, { file: "tok.bin", vocabSize }));
        expect(refusalOf(read)).toSatisfy((reason) => reason === undefined || isOarlockError(reason));
      }),
    );
  });
});

function refusalOf(read: () => unknown): unknown {
  try {
    read();
    return undefined;
  } catch (reason) {
    return reason;
  }
}

const bin = requireFile("models", "../shared/models/stories260K/stories260K.bin");
const tok = requireFile("models", "../shared/models/stories260K/tok512.bin");
const hf = requireFile("models", "../shared/models/stories260K/hf");
describe.skipIf(bin.absent || tok.absent || hf.absent)(`stories260K${bin.note}`, () => {
  it("is the same model from llama2.c's file as from the Hugging Face folder, to the last bit", async () => {
    const [read, folder] = [await loadLlama2c(bin.path), await loadModelFolder(hf.path)];
    expect(read.config).toEqual(folder.config);
    expect(read.digest).toBe(folder.digest);
    expect(read.specials).toEqual(folder.specials);
  });

  it("has the same tokenizer: vocabulary, merges and all", () => {
    const files = readLlama2cTokenizer(readFileSync(tok.path), { file: "tok512.bin", vocabSize: 512 });
    const expected = JSON.parse(readFileSync(join(hf.path, "tokenizer.json"), "utf8")) as unknown;
    expect(JSON.parse(files.tokenizer)).toEqual(expected);
    expect([...createTokenizer(files).encode("Once upon a time")]).toEqual([1, 403, 407, 261, 378]);
  });

  it("finds the tokenizer beside the checkpoint", async () => {
    const folder = temporaryFolder("llama2c");
    copyFileSync(bin.path, join(folder, "any.bin"));
    expect((await loadLlama2c(join(folder, "any.bin"))).tokenizer).toBeUndefined();
    copyFileSync(tok.path, join(folder, "tok512.bin"));
    expect((await loadLlama2c(join(folder, "any.bin"))).tokenizer).toBeDefined();
  });
});
