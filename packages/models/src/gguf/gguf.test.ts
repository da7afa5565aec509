import { readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { GGUFValueType, serializeGgufMetadata, type GGUFTypedMetadata } from "@huggingface/gguf";
import { isOarlockError } from "@oarlock/errors";
import { parameterLayout } from "@oarlock/nn";
import { float32ToBfloat16, float32ToFloat16 } from "@oarlock/tensor";
import { requireFile, temporaryFolder } from "@oarlock/testkit";
import { createTokenizer } from "@oarlock/tokenizer";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { interleavedRow } from "../rope-order.ts";
import { dequantize, STORAGE_TYPES } from "./dequantize.ts";
import { loadGguf } from "./load.ts";

const bytesOf = (array: Uint16Array | Float32Array): Uint8Array => new Uint8Array(array.buffer);
const half = (value: number): Uint8Array => bytesOf(float32ToFloat16(Float32Array.of(value)));

describe("dequantisation", () => {
  const nibbles = Uint8Array.from({ length: 16 }, (_, i) => i | ((15 - i) << 4));
  const low = Array.from({ length: 16 }, (_, i) => i);

  it("Q4_0: (n − 8)·d, low nibbles first", () => {
    const target = new Float32Array(32);
    dequantize("Q4_0", Uint8Array.from([...half(0.5), ...nibbles]), target);
    expect([...target]).toEqual([...low, ...low.toReversed()].map((n) => (n - 8) * 0.5));
  });
  it("Q4_1: n·d + m", () => {
    const target = new Float32Array(64);
    const block = [...half(0.25), ...half(-1.5), ...nibbles];
    dequantize("Q4_1", Uint8Array.from([...block, ...half(1), ...half(0), ...nibbles]), target);
    expect([...target.subarray(0, 32)]).toEqual([...low, ...low.toReversed()].map((n) => n * 0.25 - 1.5));
    expect([...target.subarray(32)]).toEqual([...low, ...low.toReversed()]);
  });
  it("Q8_0: q·d", () => {
    const quants = Int8Array.from({ length: 32 }, (_, i) => 8 * i - 128);
    const target = new Float32Array(32);
    dequantize("Q8_0", Uint8Array.from([...half(2), ...new Uint8Array(quants.buffer)]), target);
    expect([...target]).toEqual([...quants].map((q) => 2 * q));
  });
  it("F32, F16 and BF16: themselves", () => {
    const values = Float32Array.of(1, -2.5, 0.125);
    for (const [type, bytes] of [
      ["F32", bytesOf(values)],
      ["F16", bytesOf(float32ToFloat16(values))],
      ["BF16", bytesOf(float32ToBfloat16(values))],
    ] as const) {
      const target = new Float32Array(3);
      dequantize(type, bytes, target);
      expect(target).toEqual(values);
    }
  });
  it("X1: refuses sizes that do not match", () => {
    expect(() => dequantize("Q8_0", new Uint8Array(33), new Float32Array(32))).toThrow(
      /33 bytes of Q8_0 .* accepted: 34/,
    );
    expect(() => dequantize("Q4_0", new Uint8Array(18), new Float32Array(31))).toThrow(
      /accepted: whole blocks/,
    );
  });
});

/** A one-layer model: hidden 32, 2 heads of 16, feed-forward 32, vocabulary 4, as a GGUF file. */
interface FileOptions {
  readonly fields?: Record<string, unknown>;
  readonly tensors?: (list: TensorPart[]) => TensorPart[];
  readonly cut?: number;
}
interface TensorPart {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: number;
  readonly bytes: Uint8Array;
  readonly offset?: bigint;
}
const matrix = (rows: number, columns: number): Float32Array =>
  Float32Array.from({ length: rows * columns }, (_, i) => i);

function modelFile({ fields = {}, tensors = (list) => list, cut = 0 }: FileOptions = {}): string {
  const f32 = (name: string, shape: readonly number[]): TensorPart => ({
    name,
    shape,
    type: STORAGE_TYPES.F32,
    bytes: bytesOf(matrix(shape[0]!, shape[1] ?? 1)),
  });
  const parts = tensors([
    f32("token_embd.weight", [4, 32]),
    f32("output_norm.weight", [32]),
    ...["attn_norm", "ffn_norm"].map((part) => f32(`blk.0.${part}.weight`, [32])),
    ...["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"].map((part) =>
      f32(`blk.0.${part}.weight`, [32, 32]),
    ),
  ]);
  const metadata: Record<string, unknown> = {
    "general.architecture": "llama",
    "llama.block_count": 1,
    "llama.context_length": 64,
    "llama.embedding_length": 32,
    "llama.feed_forward_length": 32,
    "llama.attention.head_count": 2,
    "llama.attention.layer_norm_rms_epsilon": 0.5,
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "▁a"],
    "tokenizer.ggml.scores": [0, 0, 0, -1],
    "tokenizer.ggml.token_type": [2, 3, 3, 1],
    "tokenizer.ggml.eos_token_id": 2,
    ...fields,
  };
  const typed = Object.fromEntries(
    Object.entries(metadata)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => [key, typedValue(value)]),
  );
  const head = {
    version: { value: 3, type: GGUFValueType.UINT32 },
    tensor_count: { value: BigInt(parts.length), type: GGUFValueType.UINT64 },
    kv_count: { value: BigInt(Object.keys(typed).length), type: GGUFValueType.UINT64 },
  };
  // The writer pads its end; the tensor table follows without a gap.
  const written = serializeGgufMetadata({ ...head, ...typed } as unknown as GGUFTypedMetadata, {
    alignment: 1,
  });
  const infos: Uint8Array[] = [];
  const data: Uint8Array[] = [];
  let offset = 0;
  for (const part of parts) {
    const info = Buffer.alloc(8 + part.name.length + 4 + 8 * part.shape.length + 12);
    info.writeBigUInt64LE(BigInt(part.name.length), 0);
    info.write(part.name, 8);
    let at = 8 + part.name.length;
    at = info.writeUInt32LE(part.shape.length, at);
    for (const dim of part.shape.toReversed()) at = info.writeBigUInt64LE(BigInt(dim), at);
    at = info.writeUInt32LE(part.type, at);
    info.writeBigUInt64LE(part.offset ?? BigInt(offset), at);
    const padded = Math.ceil(part.bytes.length / 32) * 32;
    const bytes = new Uint8Array(padded);
    bytes.set(part.bytes);
    infos.push(info);
    data.push(bytes);
    offset += padded;
  }
  const top = Buffer.concat([written, ...infos]);
  const gap = Buffer.alloc((32 - (top.length % 32)) % 32);
  const whole = Buffer.concat([top, gap, ...data]);
  const path = join(temporaryFolder("gguf"), "model.gguf");
  writeFileSync(path, whole.subarray(0, whole.length - cut));
  return path;
}

function typedValue(value: unknown): object {
  if (Array.isArray(value)) {
    const subType = typeof value[0] === "string" ? GGUFValueType.STRING : GGUFValueType.FLOAT32;
    return { value, type: GGUFValueType.ARRAY, subType };
  }
  if (typeof value === "string") return { value, type: GGUFValueType.STRING };
  return { value, type: Number.isInteger(value) ? GGUFValueType.UINT32 : GGUFValueType.FLOAT32 };
}

describe("a GGUF file", () => {
  it("is read: sizes, names, tokenizer, q and k put into half-split order", async () => {
    const { config, weights, tokenizer, specials } = await loadGguf(modelFile());
    expect(config).toMatchObject({
      vocabSize: 4,
      headSize: 16,
      kvHeads: 2,
      tiedEmbeddings: true,
      rmsNormEps: 0.5,
    });
    const at = (name: string) => {
      const { offset, size } = parameterLayout(config).parameters.find((p) => p.name === name)!;
      return weights.subarray(offset, offset + size);
    };
    const plain = matrix(32, 32);
    expect(at("model.layers.0.self_attn.v_proj.weight")).toEqual(plain);
    const q = at("model.layers.0.self_attn.q_proj.weight");
    for (let head = 0; head < 2; head++) {
      for (let row = 0; row < 16; row++) {
        const from = 32 * (16 * head + interleavedRow(row, 16));
        expect(q[32 * (16 * head + row)]).toBe(plain[from]);
      }
    }
    expect(createTokenizer(tokenizer!).vocabSize).toBe(4);
    expect(specials).toEqual({ eosTokenIds: [2] });
  });

  const change =
    (name: string, fields: Partial<TensorPart>) =>
    (list: TensorPart[]): TensorPart[] =>
      list.map((part) => (part.name === name ? { ...part, ...fields } : part));
  it.each<[string, FileOptions, RegExp]>([
    [
      "another architecture",
      { fields: { "general.architecture": "gpt2" } },
      /general\.architecture is "gpt2"; accepted: llama, qwen2, qwen3/,
    ],
    [
      "a type that is not read",
      { tensors: change("blk.0.attn_q.weight", { type: 12 }) },
      /attn_q\.weight is stored as type 12; accepted: F32, F16, Q4_0/,
    ],
    [
      "a tensor beyond the end",
      { tensors: change("output_norm.weight", { offset: 2n ** 40n }) },
      /output_norm\.weight .* ends beyond the file/,
    ],
    [
      "tensors that share bytes",
      { tensors: change("blk.0.attn_q.weight", { offset: 32n }) },
      /tensors token_embd\.weight and blk\.0\.attn_q\.weight overlap/,
    ],
    ["a cut file", { cut: 64 }, /ends beyond the file/],
    [
      "an absurd shape",
      { tensors: change("token_embd.weight", { shape: [2 ** 31, 2 ** 31] }) },
      /token_embd\.weight .* ends beyond/,
    ],
    [
      "a shape beyond the reader's limit",
      { tensors: change("token_embd.weight", { shape: [2 ** 40, 32] }) },
      /exceeds the maximum/,
    ],
    [
      "rows that are no blocks",
      { tensors: change("output_norm.weight", { type: 8, shape: [31] }) },
      /rows of 31, which are no whole Q8_0 blocks/,
    ],
    ["a tensor twice", { tensors: (list) => [...list, list[0]!] }, /token_embd\.weight is there twice/],
    [
      "a tensor of another model",
      { tensors: (list) => [...list, { ...list[1]!, name: "rope_freqs.weight" }] },
      /rope_freqs\.weight belongs to no model/,
    ],
    ["a missing tensor", { tensors: (list) => list.slice(0, -1) }, /down_proj\.weight is missing/],
    [
      "a wrong shape",
      { tensors: change("blk.0.attn_k.weight", { shape: [16, 32] }) },
      /k_proj\.weight is \[16, 32\]; accepted/,
    ],
    [
      "no layers",
      { fields: { "llama.block_count": undefined } },
      /llama\.block_count is absent; accepted: a whole number/,
    ],
    [
      "scaled positions",
      { fields: { "llama.rope.scaling.type": "yarn" } },
      /rope\.scaling\.type is "yarn"; accepted: "none"/,
    ],
    [
      "an unknown vocabulary",
      { fields: { "tokenizer.ggml.model": "bert" } },
      /tokenizer\.ggml\.model is "bert"; .*tokenizer\.json beside/,
    ],
    [
      "an unknown way to cut words",
      { fields: { "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "x" } },
      /tokenizer\.ggml\.pre is "x"; accepted: default/,
    ],
  ])("X1: with %s is refused", async (_, options, reason) => {
    await expect(loadGguf(modelFile(options))).rejects.toThrow(reason);
  });

  it("X1: whatever bytes of its head are changed, is read or refused: nothing else is thrown", async () => {
    const whole = readFileSync(modelFile());
    const path = join(temporaryFolder("gguf"), "changed.gguf");
    const changes = fc.array(fc.tuple(fc.nat(1500), fc.integer({ min: 0, max: 255 })), {
      minLength: 1,
      maxLength: 4,
    });
    await fc.assert(
      fc.asyncProperty(changes, async (list) => {
        const bytes = Buffer.from(whole);
        for (const [at, value] of list) bytes[at] = value;
        writeFileSync(path, bytes);
        const outcome = await loadGguf(path).catch((reason: unknown) => reason);
        expect(!(outcome instanceof Error) || isOarlockError(outcome), String(outcome)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
});

const cache = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
const smol = requireFile(
  "smollm2",
  join(cache, "oarlock/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf"),
);
const golden = requireFile("models", "../shared/models/smollm2-135m-instruct/golden.json");
describe.skipIf(smol.absent || golden.absent)(`SmolLM2-135M-Instruct${smol.note}${golden.note}`, () => {
  it("is read: 135 M weights, its golden prompts by its own vocabulary and template", async () => {
    const { config, tokenizer, specials, weights } = await loadGguf(smol.path);
    expect(config).toMatchObject({
      layers: 30,
      heads: 9,
      kvHeads: 3,
      headSize: 64,
      ropeTheta: 100_000,
      tiedEmbeddings: true,
    });
    expect(specials).toEqual({ bosTokenId: 1, padTokenId: 2, eosTokenIds: [2] });
    expect(weights).toHaveLength(parameterLayout(config).length);
    const own = createTokenizer(tokenizer!);
    interface Golden {
      readonly cases: readonly { readonly question: string; readonly prompt_ids: readonly number[] }[];
    }
    const { cases } = JSON.parse(readFileSync(golden.path, "utf8")) as Golden;
    for (const { question, prompt_ids } of cases) {
      expect([...own.encodeChat([{ role: "user", content: question }])]).toEqual(prompt_ids);
    }
  }, 60_000);
});
