import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
  openSync,
  ftruncateSync,
  writeSync,
  closeSync,
} from "node:fs";
import { join } from "node:path";
import { type LlamaConfig, parameterLayout } from "@oarlock/nn";
import { bytesSource, encodeSafetensors, openSafetensors, planSafetensors } from "@oarlock/safetensors";
import { float32ToBfloat16, type Tensor, tensor } from "@oarlock/tensor";
import { requireFile, temporaryFolder } from "@oarlock/testkit";
import { characterTokenizer } from "@oarlock/tokenizer";
import { describe, expect, it } from "vitest";
import { openFileSource } from "./file-source.ts";
import { loadModelFolder, type ModelToSave, saveModel } from "./index.ts";

const config: LlamaConfig = {
  vocabSize: 15,
  hiddenSize: 8,
  intermediateSize: 12,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headSize: 4,
  ropeTheta: 10_000,
  ropeConvention: "half-split",
  rmsNormEps: 1e-5,
  maxPositions: 32,
  tiedEmbeddings: true,
  qkvBias: false,
  qkNorm: false,
};

/** Every weight another number; gaps stay zero. */
function weightsOf(of: LlamaConfig): Float32Array {
  const { parameters, length } = parameterLayout(of);
  const weights = new Float32Array(length);
  for (const { offset, size } of parameters) {
    for (let i = offset; i < offset + size; i++) weights[i] = Math.fround(Math.sin(i + 1));
  }
  return weights;
}
const model = (of: LlamaConfig = config): ModelToSave => ({
  config: of,
  weights: weightsOf(of),
  specials: { bosTokenId: 1, padTokenId: 0, eosTokenIds: [2] },
  tokenizer: characterTokenizer({ alphabet: "0123456789+=" }),
});

describe("a saved model", () => {
  it.each<[string, LlamaConfig]>([
    ["Llama", config],
    ["Llama, untied", { ...config, tiedEmbeddings: false }],
    ["Qwen2", { ...config, qkvBias: true }],
    ["a reward model", { ...config, head: "score" }],
    ["a reward model of Qwen2", { ...config, qkvBias: true, tiedEmbeddings: false, head: "score" }],
    ["Qwen3, head size of its own", { ...config, qkNorm: true, headSize: 6 }],
  ])("%s: is read back bit for bit", async (_, of) => {
    const folder = join(temporaryFolder("model"), "deep", "final");
    const saved = model(of);
    await saveModel(folder, saved);
    const read = await loadModelFolder(folder);
    expect(read.config).toEqual(of);
    expect(read.weights).toEqual(saved.weights);
    expect(read.tokenizer).toEqual(saved.tokenizer);
    expect(read.specials).toEqual(saved.specials);
    expect(read.digest).toMatch(/^[0-9a-f]{64}$/);
  });

  it("says in transformers' words what a reward model is, and reads no classifier of several labels", async () => {
    const folder = join(temporaryFolder("model"), "final");
    await saveModel(folder, model({ ...config, head: "score" }));
    const path = join(folder, "config.json");
    const stated = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
    expect(stated).toMatchObject({
      architectures: ["LlamaForSequenceClassification"],
      id2label: { 0: "score" },
    });
    writeFileSync(path, JSON.stringify({ ...stated, id2label: { 0: "bad", 1: "good" } }));
    await expect(loadModelFolder(folder)).rejects.toThrow(/id2label.*one label/);
    // Not that a language model's head is missing: nobody said that it is one.
    for (const other of ["LlamaForTokenClassification", "Qwen2ForSequenceClassification"]) {
      writeFileSync(path, JSON.stringify({ ...stated, architectures: [other] }));
      const said = new RegExp(
        `architectures is "${other}"; accepted: .*LlamaForSequenceClassification with one label`,
      );
      await expect(loadModelFolder(folder)).rejects.toThrow(said);
    }
  });

  it("replaces a folder whole, and leaves nothing beside it", async () => {
    const parent = temporaryFolder("model");
    const folder = join(parent, "final");
    mkdirSync(folder);
    writeFileSync(join(folder, "stale.txt"), "old");
    await saveModel(folder, model());
    await saveModel(folder, model());
    expect(readdirSync(parent)).toEqual(["final"]);
    expect(readdirSync(folder).toSorted()).toEqual([
      "config.json",
      "generation_config.json",
      "model.safetensors",
      "tokenizer.json",
      "tokenizer_config.json",
    ]);
  });

  it("fills an empty folder, which stays the one that it is", async () => {
    const folder = temporaryFolder("model");
    const { ino } = statSync(folder);
    await saveModel(folder, model());
    expect(statSync(folder).ino).toBe(ino);
    expect(readdirSync(folder).filter((name) => name.startsWith("."))).toEqual([]);
    expect((await loadModelFolder(folder)).config).toEqual(config);
  });

  it("leaves the old folder as it was when writing fails", async () => {
    const parent = temporaryFolder("model");
    const folder = join(parent, "final");
    await saveModel(folder, model());
    const before = readFileSync(join(folder, "model.safetensors"));
    const stopped = AbortSignal.abort(new Error("stopped"));
    await expect(saveModel(folder, model(), { signal: stopped })).rejects.toThrow("stopped");
    expect(readdirSync(parent)).toEqual(["final"]);
    expect(readFileSync(join(folder, "model.safetensors"))).toEqual(before);
  });

  it("takes −1 for no token, and null for what the other file says", async () => {
    const folder = join(temporaryFolder("model"), "final");
    await saveModel(folder, { ...model(), specials: { eosTokenIds: [2, 3], bosTokenId: 1 } });
    const said = { eos_token_id: null, pad_token_id: -1 };
    writeFileSync(join(folder, "generation_config.json"), JSON.stringify(said));
    expect((await loadModelFolder(folder)).specials).toEqual({ eosTokenIds: [2, 3], bosTokenId: 1 });
  });

  it("halves its size in bfloat16, rounding", async () => {
    const folder = join(temporaryFolder("model"), "final");
    await saveModel(folder, model(), { dtype: "bfloat16" });
    const read = await loadModelFolder(folder, { shared: true });
    expect(read.weights.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(read.weights).toBeAllclose(weightsOf(config), { relative: 2 ** -8 });
    expect(read.weights).not.toEqual(weightsOf(config));
  });

  it("is half-split on disk where the model's heads are interleaved", async () => {
    const folder = join(temporaryFolder("model"), "final");
    await saveModel(folder, model({ ...config, ropeConvention: "interleaved" }));
    const read = await loadModelFolder(folder);
    expect(read.config.ropeConvention).toBe("half-split");
    const q = parameterLayout(config).parameters.find(({ name }) =>
      name.endsWith("0.self_attn.q_proj.weight"),
    )!;
    const row = (of: Float32Array, i: number) => [...of.subarray(q.offset + 8 * i, q.offset + 8 * i + 8)];
    const before = weightsOf(config);
    expect([0, 1, 2, 3].map((i) => row(read.weights, i))).toEqual([0, 2, 1, 3].map((i) => row(before, i)));
  });
});

describe("shards", () => {
  const split = async (): Promise<string> => {
    const folder = join(temporaryFolder("model"), "sharded");
    await saveModel(folder, model());
    const whole = await openSafetensors(bytesSource(readFileSync(join(folder, "model.safetensors"))));
    const parts = [new Map<string, Tensor>(), new Map<string, Tensor>()];
    const map: Record<string, string> = {};
    for (const [i, name] of [...whole.tensors.keys()].entries()) {
      parts[i % 2]!.set(name, await whole.read(name));
      map[name] = `model-0000${(i % 2) + 1}-of-00002.safetensors`;
    }
    const target = temporaryFolder("shards");
    for (const file of ["config.json", "generation_config.json"])
      copyFileSync(join(folder, file), join(target, file));
    for (const [i, part] of parts.entries()) {
      writeFileSync(join(target, `model-0000${i + 1}-of-00002.safetensors`), encodeSafetensors(part));
    }
    writeFileSync(join(target, "model.safetensors.index.json"), JSON.stringify({ weight_map: map }));
    return target;
  };

  it("are one model", async () => {
    const read = await loadModelFolder(await split());
    expect(read.weights).toEqual(weightsOf(config));
    expect(read.tokenizer).toBeUndefined();
  });

  it("X1: an index that leads out of the folder is refused", async () => {
    const folder = await split();
    writeFileSync(join(folder, "model.safetensors.index.json"), '{"weight_map": {"a": "../b.safetensors"}}');
    await expect(loadModelFolder(folder)).rejects.toThrow(/MODEL_FILE.*"\.\.\/b\.safetensors"/);
  });
});

describe("X1: a wrong model is refused", () => {
  const saved = async (change: (folder: string) => void): Promise<Promise<unknown>> => {
    const folder = join(temporaryFolder("model"), "wrong");
    await saveModel(folder, model());
    change(folder);
    return loadModelFolder(folder);
  };
  const edit = (folder: string, fields: object): void => {
    const path = join(folder, "config.json");
    writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, "utf8")) as object), ...fields }));
  };
  it.each([
    [{ model_type: "gpt2" }, /config\.json: model_type is "gpt2"; accepted: llama, qwen2, qwen3/],
    [{ hidden_size: "8" }, /hidden_size is "8"; accepted: a whole number from 1 to 262144/],
    [{ hidden_size: 1e9 }, /hidden_size is 1000000000; accepted/],
    [{ num_hidden_layers: 1.5 }, /num_hidden_layers is 1\.5/],
    [{ num_hidden_layers: 3 }, /MODEL_WEIGHTS.*model\.layers\.2\.\S+ is missing/],
    [{ num_hidden_layers: 1 }, /tensor model\.layers\.1\.\S+ belongs to no model/],
    [{ vocab_size: 16 }, /embed_tokens\.weight is \[15, 8\]; accepted by the configuration: \[16, 8\]/],
    [{ hidden_act: "gelu" }, /hidden_act is "gelu"; accepted: "silu", "swish"/],
    [{ attention_bias: true }, /attention_bias is true; accepted: false/],
    [{ rope_scaling: { rope_type: "llama3" } }, /rope_scaling\.rope_type is "llama3"; accepted: "default"/],
    [{ tie_word_embeddings: false }, /lm_head\.weight is missing/],
    [{ num_key_value_heads: 3 }, /kvHeads is 3; accepted: a divisor of heads \(4\)/],
  ])("%j", async (fields, message) => {
    await expect(saved((folder) => edit(folder, fields))).rejects.toThrow(message);
  });

  it.each(["2", 2.5, [2, "3"], { id: 2 }])("with an end token that is none: %j", async (id) => {
    const inConfig = (folder: string) => {
      writeFileSync(join(folder, "generation_config.json"), "{}");
      edit(folder, { eos_token_id: id });
    };
    await expect(saved(inConfig)).rejects.toThrow(/MODEL_CONFIG.*wrong\/config\.json: eos_token_id is /);
    const inGeneration = (folder: string) =>
      writeFileSync(join(folder, "generation_config.json"), JSON.stringify({ eos_token_id: id }));
    const said = `generation_config.json: eos_token_id is ${JSON.stringify(id)}; accepted: the id of a token, or a list`;
    await expect(saved(inGeneration)).rejects.toThrow(said);
  });

  it("with a head that is tied by the configuration and differs by its numbers", async () => {
    const withHead = (change: (head: Float32Array) => void, shape = [15, 8]): Promise<unknown> =>
      saved((folder) => {
        const { parameters } = parameterLayout(config);
        const tensors = new Map(parameters.map(({ name, shape: of }) => [name, tensor("float32", of)]));
        const head = tensor("float32", shape);
        change(head.data as Float32Array);
        tensors.set("lm_head.weight", head);
        writeFileSync(join(folder, "model.safetensors"), encodeSafetensors(tensors));
      });
    const message =
      /MODEL_WEIGHTS.*lm_head\.weight is not model\.embed_tokens\.weight, .* tie_word_embeddings: true/;
    await expect(withHead((head) => head.fill(1, 119))).rejects.toThrow(message);
    await expect(withHead(() => undefined, [16, 8])).rejects.toThrow(message);
    await expect(withHead(() => undefined)).resolves.toBeDefined();
  });

  it("by type: whole numbers are no weights", async () => {
    const whole = saved((folder) => {
      const { parameters } = parameterLayout(config);
      const tensors = new Map(parameters.map(({ name, shape }) => [name, tensor("int32", shape)]));
      writeFileSync(join(folder, "model.safetensors"), encodeSafetensors(tensors));
    });
    await expect(whole).rejects.toThrow(/model\.safetensors: tensor \S+ is int32; accepted: float32/);
  });

  it("without files", async () => {
    const empty = temporaryFolder("model");
    await expect(loadModelFolder(empty)).rejects.toThrow(/is no model: it has no config\.json/);
    const without = saved((folder) => writeFileSync(join(folder, "config.json"), "{"));
    await expect(without).rejects.toThrow(/config\.json is no JSON/);
    await expect(saveModel(join(empty, "x"), { ...model(), weights: new Float32Array(3) })).rejects.toThrow(
      /MODEL_WEIGHTS.*3 weights; accepted/,
    );
  });
});

describe("a file above 2 GiB", () => {
  it("is read by range", async () => {
    const path = join(temporaryFolder("large"), "large.safetensors");
    const rows = 700_000_000;
    const plan = planSafetensors([
      { name: "large", dtype: "float32", shape: [rows, 1] },
      { name: "last", dtype: "bfloat16", shape: [2] },
    ]);
    expect(plan.sizeBytes).toBeGreaterThan(2 ** 31);
    const file = openSync(path, "w"); // sparse: takes no room
    ftruncateSync(file, plan.sizeBytes);
    writeSync(file, plan.header, 0, plan.header.length, 0);
    const end = new Uint8Array(float32ToBfloat16(Float32Array.of(1.5, -2)).buffer);
    writeSync(file, end, 0, 4, plan.sizeBytes - 4);
    writeSync(file, new Uint8Array(Float32Array.of(7).buffer), 0, 4, plan.sizeBytes - 8);
    closeSync(file);
    const source = await openFileSource(path);
    const reader = await openSafetensors(source);
    expect((await reader.slice("large", { start: rows - 2, end: rows })).data).toEqual(Float32Array.of(0, 7));
    expect((await reader.read("last")).data).toEqual(float32ToBfloat16(Float32Array.of(1.5, -2)));
    await source.close();
  });
});

const stories = requireFile("models", "../shared/models/stories260K/hf");
describe.skipIf(stories.absent)(`stories260K${stories.note}`, () => {
  it("loads, with its tokenizer and special tokens", async () => {
    const read = await loadModelFolder(stories.path);
    expect(read.config).toMatchObject({
      layers: 5,
      kvHeads: 4,
      headSize: 8,
      ropeTheta: 10_000,
      tiedEmbeddings: true,
    });
    expect(read.specials).toEqual({ bosTokenId: 1, padTokenId: 0, eosTokenIds: [2] });
    expect(read.tokenizer?.tokenizer).toContain("byte_fallback");
  });
});

const digit = requireFile("models", "../shared/models/verl-digit/model");
describe.skipIf(digit.absent)(`a bfloat16 model without tokenizer.json${digit.note}`, () => {
  it("loads: finite weights, untied head, end token 1", async () => {
    const read = await loadModelFolder(digit.path);
    expect(read.config).toMatchObject({
      vocabSize: 16,
      hiddenSize: 128,
      tiedEmbeddings: false,
      rmsNormEps: 1e-6,
    });
    expect(read.specials).toEqual({ padTokenId: 2, eosTokenIds: [1] });
    expect(read.weights.every(Number.isFinite)).toBe(true);
    expect(read.weights.some((weight) => weight !== 0)).toBe(true);
  });
});
