/**
 * The compute of one worker: two sessions (prefill, decode), the weights in the form that they take, and the key-value
 * caches of the slots, updated in place. Everything is synchronous on the calling thread where the driver allows it.
 *
 * It knows slots as row numbers and prompts as ids; not samples, requests, randomness or versions.
 *
 * D3 holds by what it never does: a matrix product over a single row, or over rows split between threads, while the
 * weights are inputs. Rows are padded to even counts, and so is the head at prefill.
 *
 * Measured (AVX-512, one thread, stories260K, 64 rows) while its heads of 8 were still padded to 16: 0.84 ms a step, of it
 * attention 0.62, MatMul 0.24, the two norms of each layer 0.04, softmax 0.008 (by a profiler that adds to each); without the padding
 * a fifth to a quarter less in all. Two workers with half of the rows each make 1.7 times the tokens of one.
 */
import { OarlockError } from "@oarlock/errors";
import { type LlamaConfig, rotaryTables } from "@oarlock/nn";
import { serializeModel } from "@oarlock/onnx";
import {
  type LackingOperator,
  lackingOperators,
  type OrtBinding,
  type OrtRuntime,
  type OrtSession,
  type OrtTensor,
} from "@oarlock/ort";
import { type KeptSequence, KeyValueCache } from "./cache.ts";
import { buildDecodeGraph, type DecodeGraphOptions } from "./decode-graph.ts";
import { packedWeights, paddedHeadSize } from "./packed-weights.ts";
import { storageOf } from "./storage.ts";
import type { WeightLayout } from "./types.ts";

export interface EngineOptions {
  readonly ort: OrtRuntime;
  readonly config: LlamaConfig;
  readonly layout: WeightLayout;
  readonly threads: number;
  readonly slots: number;
  readonly maxLength: number;
  /** Operators that are composed of others. Default: those that the provider lacks. */
  readonly without?: readonly LackingOperator[];
}

/** A prompt that went through the model: what a sequence starts from. */
export interface Prefix {
  readonly length: number;
  /** Of the token after the prompt. [vocabulary] */
  readonly probabilities: Float32Array;
  /** To be released when no more sequence starts from it. */
  readonly cache: KeptSequence;
}

export interface Prompt {
  readonly ids: Int32Array;
  readonly inverseTemperature: number;
}

/** Rows of a decode step are a multiple of this, so that few bindings serve all counts; at least 2 (D3). */
const ROW_STEP = 4;
/** Prompt lengths are padded to a multiple of this. */
const TOKEN_STEP = 8;
/** Prompts prefilled together have at most this many positions, padding included, unless one alone is longer. */
const PREFILL_POSITIONS = 1024;
/** Prefill shapes whose bindings are kept. */
const KEPT_BINDINGS = 32;

const roundUp = (count: number, step: number): number => Math.ceil(count / step) * step;

type Tensors = Record<string, OrtTensor>;

interface Sessions {
  readonly prefill: OrtSession;
  readonly decode: OrtSession;
}

export class DecodeEngine {
  readonly #options: EngineOptions;
  readonly #without: readonly LackingOperator[];
  readonly #rows: number;
  readonly #models: { readonly [Role in keyof Sessions]: Uint8Array };
  /** Packed, in host memory. */
  readonly #weights: Tensors;
  /** The same where the engine keeps state: what graphs with the layout "inputs" are given. */
  readonly #resident: Tensors;
  readonly #tables: Tensors;
  readonly #cache: KeyValueCache;
  readonly #prefillCache: KeyValueCache;
  /** On a card, per slot: the prefix that its cache begins with. */
  readonly #placed: (KeptSequence | undefined)[];
  readonly #decodeBindings = new Map<number, OrtBinding>();
  readonly #prefillBindings = new Map<string, OrtBinding>();
  #sessions: Sessions | undefined;

  /** Per slot: the token that the next step reads, its position, and the factor of its logits. */
  readonly ids: Int32Array;
  readonly positions: Int32Array;
  readonly inverseTemperatures: Float32Array;
  /** Results of the last step, a row per slot. [rows, vocabulary] */
  readonly probabilities: Float32Array;

  constructor(options: EngineOptions) {
    const { config, layout, slots, maxLength, ort } = options;
    this.#options = options;
    this.#without = options.without ?? lackingOperators(ort.provider);
    this.#rows = roundUp(slots, ROW_STEP);
    const model = (role: DecodeGraphOptions["role"]): Uint8Array =>
      serializeModel(buildDecodeGraph({ config, role, layout, without: this.#without }));
    this.#models = { prefill: model("prefill"), decode: model("decode") };
    this.#weights = Object.fromEntries(
      packedWeights(config).map(({ name, shape }) => [name, ort.tensor("float32", shape)]),
    );
    this.#resident =
      ort.residence === "host" || layout === "initializers"
        ? this.#weights
        : Object.fromEntries(
            packedWeights(config).map(({ name, shape }) => [name, ort.deviceTensor("float32", shape)]),
          );
    // Prompts are padded: the tables reach to where the padding of the longest one ends.
    const positions = roundUp(maxLength, TOKEN_STEP);
    const { cos, sin } = rotaryTables(config, positions, paddedHeadSize(config));
    const table = [positions, paddedHeadSize(config) / 2];
    this.#tables = { cos: ort.tensor("float32", table, cos), sin: ort.tensor("float32", table, sin) };
    this.#cache = new KeyValueCache(config, storageOf(ort));
    this.#prefillCache = new KeyValueCache(config, storageOf(ort));
    this.#placed = Array.from({ length: this.#rows }, () => undefined);
    this.ids = new Int32Array(this.#rows);
    this.positions = new Int32Array(this.#rows);
    this.inverseTemperatures = new Float32Array(this.#rows).fill(1);
    this.probabilities = new Float32Array(this.#rows * config.vocabSize);
  }

  /** Takes new weights. With the layout "initializers" this makes new sessions. */
  async load(flat: Float32Array): Promise<void> {
    for (const { name, fill } of packedWeights(this.#options.config)) {
      const target = this.#weights[name]?.data;
      if (target instanceof Float32Array) fill(flat, target);
    }
    if (this.#resident !== this.#weights) {
      const names = Object.keys(this.#weights);
      const of = (tensors: Tensors) => names.flatMap((name) => tensors[name] ?? []);
      this.#options.ort.copy(of(this.#weights), of(this.#resident));
    }
    if (this.#sessions && this.#options.layout === "inputs") return;
    const old = this.#sessions;
    this.#dropBindings("prefill", "decode");
    this.#sessions = undefined;
    await Promise.all([old?.prefill.close(), old?.decode.close()]);
    this.#sessions = {
      prefill: await this.#createSession("prefill"),
      decode: await this.#createSession("decode"),
    };
  }

  /** Runs prompts through the model. In the order given. */
  async prefill(prompts: readonly Prompt[]): Promise<readonly Prefix[]> {
    const prefixes: Prefix[] = [];
    for (let start = 0; start < prompts.length;) {
      let count = 1;
      let tokens = roundUp(prompts[start]?.ids.length ?? 0, TOKEN_STEP);
      for (let next = prompts[start + count]; next; next = prompts[start + ++count]) {
        const longer = Math.max(tokens, roundUp(next.ids.length, TOKEN_STEP));
        if (longer * (count + 1) > PREFILL_POSITIONS) break;
        tokens = longer;
      }
      prefixes.push(...(await this.#prefillTogether(prompts.slice(start, start + count), tokens)));
      start += count;
    }
    return prefixes;
  }

  /** Makes room in every slot for sequences of `length` tokens. */
  reserve(length: number): void {
    if (this.#cache.reserve({ rows: this.#rows, length, limit: this.#options.maxLength }))
      this.#dropBindings("decode");
  }

  /** Starts `slot` from a prefix: its next step writes position `prefix.length`. */
  place({ cache, length }: Prefix, slot: number): void {
    if (this.#options.ort.residence === "host") return this.#cache.write(slot, cache, length);
    // A card copies a row in a fraction of the moves that it takes to write one.
    const beside = this.#placed.indexOf(cache);
    if (beside < 0) this.#cache.write(slot, cache, length);
    else if (beside !== slot) this.#cache.move(beside, slot, length);
    this.#placed[slot] = cache;
  }

  /** Moves a sequence to another slot. Its cache holds `positions` entries: the newest token is not in it yet. */
  move(from: number, to: number): void {
    this.#cache.move(from, to, this.positions[from] ?? 0);
    this.#placed[to] = this.#placed[from];
    this.ids[to] = this.ids[from] ?? 0;
    this.positions[to] = this.positions[from] ?? 0;
    this.inverseTemperatures[to] = this.inverseTemperatures[from] ?? 1;
  }

  /** One token further in slots 0 … count − 1: reads `ids` and `positions`, writes `probabilities` and the caches. */
  async decode(count: number): Promise<void> {
    const rows = Math.min(roundUp(Math.max(count, 2), ROW_STEP), this.#rows);
    // Rows that only pad write their first position, which the next sequence of that slot overwrites.
    this.ids.fill(0, count, rows);
    this.positions.fill(0, count, rows);
    this.#placed.fill(undefined, count, rows);
    const { decode } = this.#ready();
    let binding = this.#decodeBindings.get(rows);
    if (!binding) this.#decodeBindings.set(rows, (binding = this.#bindDecode(decode, rows)));
    await this.#run(decode, binding);
  }

  async close(): Promise<void> {
    this.#dropBindings("prefill", "decode");
    const sessions = this.#sessions;
    this.#sessions = undefined;
    await Promise.all([sessions?.prefill.close(), sessions?.decode.close()]);
    this.#cache.close();
    this.#prefillCache.close();
    for (const tensors of [this.#weights, this.#resident, this.#tables])
      for (const held of Object.values(tensors)) held.dispose();
  }

  #ready(): Sessions {
    if (!this.#sessions) throw new OarlockError("GENERATION_NO_WEIGHTS", "no policy has been loaded yet");
    return this.#sessions;
  }

  async #run(session: OrtSession, binding: OrtBinding): Promise<void> {
    if (this.#options.ort.driver === "native") session.runSync(binding);
    else await session.run(binding);
  }

  #createSession(role: keyof Sessions): Promise<OrtSession> {
    const { ort, threads, layout } = this.#options;
    const initializers = layout === "initializers" ? { initializers: this.#weights } : {};
    return ort.createSession(this.#models[role], { threads, ...initializers });
  }

  #shared(): Tensors {
    return this.#options.layout === "inputs" ? { ...this.#tables, ...this.#resident } : this.#tables;
  }

  /** What tells attention which positions there are: `count` in the cache when decoding, of a padded prompt at prefill. */
  #reach(role: keyof Sessions, count: number): Tensors {
    const { ort } = this.#options;
    const isFused = !this.#without.includes("GroupQueryAttention");
    const places = (): BigInt64Array => BigInt64Array.from({ length: count }, (_, i) => BigInt(i));
    return {
      ...(isFused ? { totalLength: ort.tensor("int32", [], Int32Array.of(count)) } : {}),
      ...(isFused && role === "decode" ? {} : { places: ort.tensor("int64", [count], places()) }),
    };
  }

  #bindDecode(session: OrtSession, rows: number): OrtBinding {
    const { ort, config } = this.#options;
    const { inputs, outputs } = this.#cache.tensors(rows, this.#cache.capacity);
    const own: Tensors = {
      ids: ort.tensor("int32", [rows, 1], this.ids.subarray(0, rows)),
      lastIndex: ort.tensor("int32", [rows], this.positions.subarray(0, rows)),
      ...this.#reach("decode", this.#cache.capacity),
      inverseTemperature: ort.tensor("float32", [rows, 1], this.inverseTemperatures.subarray(0, rows)),
    };
    const shape = [rows, config.vocabSize];
    const probabilities = ort.tensor(
      "float32",
      shape,
      this.probabilities.subarray(0, rows * config.vocabSize),
    );
    return session.bind({ ...own, ...inputs, ...this.#shared() }, { probabilities, ...outputs });
  }

  #bindPrefill(session: OrtSession, rows: number, tokens: number): OrtBinding {
    const { ort, config } = this.#options;
    const length = Math.max(PREFILL_POSITIONS, rows * tokens);
    if (this.#prefillCache.reserve({ rows: 1, length, limit: Number.MAX_SAFE_INTEGER }))
      this.#dropBindings("prefill");
    const { inputs, outputs } = this.#prefillCache.tensors(rows, tokens);
    const heads = Math.max(rows, 2);
    const own: Tensors = {
      ids: ort.tensor("int32", [rows, tokens]),
      lastIndex: ort.tensor("int32", [rows]),
      ...this.#reach("prefill", tokens),
      inverseTemperature: ort.tensor("float32", [heads, 1]),
      headRows: ort.tensor("int32", [heads]),
    };
    const probabilities = ort.tensor("float32", [heads, config.vocabSize]);
    return session.bind({ ...own, ...inputs, ...this.#shared() }, { probabilities, ...outputs });
  }

  async #prefillTogether(prompts: readonly Prompt[], tokens: number): Promise<readonly Prefix[]> {
    const { prefill } = this.#ready();
    const { vocabSize } = this.#options.config;
    const key = `${prompts.length} × ${tokens}`;
    const binding = this.#prefillBindings.get(key) ?? this.#bindPrefill(prefill, prompts.length, tokens);
    this.#keepPrefillBinding(key, binding);
    prompts.forEach(({ ids, inverseTemperature }, row) => {
      const last = ids.length - 1;
      integers(binding, "ids").fill(0, row * tokens, (row + 1) * tokens);
      integers(binding, "ids").set(ids, row * tokens);
      integers(binding, "lastIndex")[row] = last;
      integers(binding, "headRows")[row] = row * tokens + last;
      floats(binding.inputs["inverseTemperature"])[row] = inverseTemperature;
    });
    await this.#run(prefill, binding);
    const probabilities = floats(binding.outputs["probabilities"]);
    return prompts.map(({ ids }, row) => ({
      length: ids.length,
      probabilities: probabilities.slice(row * vocabSize, (row + 1) * vocabSize),
      cache: this.#prefillCache.read({ row, capacity: tokens, length: ids.length }),
    }));
  }

  /** Keeps the bindings used last. */
  #keepPrefillBinding(key: string, binding: OrtBinding): void {
    this.#prefillBindings.delete(key);
    this.#prefillBindings.set(key, binding);
    for (const [oldest, unused] of this.#prefillBindings) {
      if (this.#prefillBindings.size <= KEPT_BINDINGS) return;
      this.#prefillBindings.delete(oldest);
      this.#release(unused);
    }
  }

  #dropBindings(...roles: readonly (keyof Sessions)[]): void {
    for (const role of roles) {
      const bindings = role === "decode" ? this.#decodeBindings : this.#prefillBindings;
      for (const binding of bindings.values()) this.#release(binding);
      bindings.clear();
    }
  }

  /** Ends a binding and the tensors that were made for it alone. */
  #release(binding: OrtBinding): void {
    binding.dispose();
    const shared = this.#shared();
    for (const [name, held] of Object.entries({ ...binding.inputs, ...binding.outputs }))
      if (!shared[name]) held.dispose();
  }
}

function integers(binding: OrtBinding, name: string): Int32Array {
  const data = binding.inputs[name]?.data;
  if (data instanceof Int32Array) return data;
  throw new OarlockError("GENERATION_BINDING", `${name} is no int32 input`);
}

function floats(held: OrtTensor | undefined): Float32Array {
  if (held?.data instanceof Float32Array) return held.data;
  throw new OarlockError("GENERATION_BINDING", "a float32 tensor is missing");
}
