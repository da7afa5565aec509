/**
 * The weights as the decode graph wants them: q, k and v in one matrix, gate and up in another, head sizes padded to
 * what the fused attention kernel takes, and rotary pairs in half-split order. All of it is a copy with another order of
 * rows and columns, plus zeros: no number changes, so the result belongs to the flat weights' digest.
 *
 * It knows nothing of sessions. The parameter names are Hugging Face's.
 */
import { OarlockError } from "@oarlock/errors";
import { type LlamaConfig, parameterLayout } from "@oarlock/nn";

/** ONNX Runtime's GroupQueryAttention takes head sizes that are multiples of this. */
const HEAD_SIZE_MULTIPLE = 16;

export interface PackedWeight {
  readonly name: string;
  readonly shape: readonly number[];
  /** Writes the packed form of the flat weights. */
  readonly fill: (flat: Float32Array, into: Float32Array) => void;
}

/** The head size in the cache and in the packed matrices. */
export function paddedHeadSize(config: LlamaConfig): number {
  return Math.ceil(config.headSize / HEAD_SIZE_MULTIPLE) * HEAD_SIZE_MULTIPLE;
}

/** Where the rotated element `i` of a head (in the checkpoint's order) lies in the padded head. */
export function rotaryPlace(config: LlamaConfig, i: number): number {
  const half = config.headSize / 2;
  const [pair, second] =
    config.ropeConvention === "interleaved" ? [i >> 1, i & 1] : [i % half, Math.floor(i / half)];
  return pair + second * (paddedHeadSize(config) / 2);
}

/** Every packed weight in the order of the graph. */
export function packedWeights(config: LlamaConfig): readonly PackedWeight[] {
  const source = sources(config);
  const { hiddenSize, intermediateSize, vocabSize } = config;
  const weights: PackedWeight[] = [
    copy("embedding", source("model.embed_tokens.weight"), [vocabSize, hiddenSize]),
  ];
  for (let layer = 0; layer < config.layers; layer++) {
    const from = (name: string) => source(`model.layers.${layer}.${name}`);
    const to = (name: string) => `layer${layer}.${name}`;
    weights.push(copy(to("inputNorm"), from("input_layernorm.weight"), [hiddenSize]));
    weights.push(...attentionWeights(config, from, to));
    weights.push(copy(to("attentionNorm"), from("post_attention_layernorm.weight"), [hiddenSize]));
    const gateUp = [from("mlp.gate_proj.weight"), from("mlp.up_proj.weight")];
    weights.push(join(to("gateUp"), gateUp, [2 * intermediateSize, hiddenSize]));
    weights.push(copy(to("down"), from("mlp.down_proj.weight"), [hiddenSize, intermediateSize]));
  }
  weights.push(copy("finalNorm", source("model.norm.weight"), [hiddenSize]));
  if (!config.tiedEmbeddings) weights.push(copy("head", source("lm_head.weight"), [vocabSize, hiddenSize]));
  return weights;
}

type Source = (flat: Float32Array) => Float32Array;

function sources(config: LlamaConfig): (name: string) => Source {
  const places = new Map(parameterLayout(config).parameters.map((parameter) => [parameter.name, parameter]));
  return (name) => {
    const place = places.get(name);
    if (!place) throw new OarlockError("GENERATION_WEIGHTS", `the parameter layout has no ${name}`);
    return (flat) => flat.subarray(place.offset, place.offset + place.size);
  };
}

function attentionWeights(
  config: LlamaConfig,
  from: (name: string) => Source,
  to: (name: string) => string,
): PackedWeight[] {
  const { heads, kvHeads, headSize, hiddenSize, qkvBias, qkNorm } = config;
  const padded = paddedHeadSize(config);
  const rotated = (i: number): number => rotaryPlace(config, i);
  const plain = (i: number): number => i;
  const parts = [
    { source: "q_proj", count: heads, place: rotated },
    { source: "k_proj", count: kvHeads, place: rotated },
    { source: "v_proj", count: kvHeads, place: plain },
  ];
  const rows = (heads + 2 * kvHeads) * padded;
  const gather =
    (kind: string, width: number) =>
    (flat: Float32Array, into: Float32Array): void => {
      let head = 0;
      for (const { source, count, place } of parts) {
        const data = from(`self_attn.${source}.${kind}`)(flat);
        for (let h = 0; h < count; h++, head++) {
          for (let i = 0; i < headSize; i++) {
            const row = (h * headSize + i) * width;
            into.set(data.subarray(row, row + width), (head * padded + place(i)) * width);
          }
        }
      }
    };
  const weights: PackedWeight[] = [
    { name: to("qkv"), shape: [rows, hiddenSize], fill: gather("weight", hiddenSize) },
  ];
  if (qkvBias) weights.push({ name: to("qkvBias"), shape: [rows], fill: gather("bias", 1) });
  if (qkNorm) weights.push(headNorm(config, to("qNorm"), from("self_attn.q_norm.weight")));
  if (qkNorm) weights.push(headNorm(config, to("kNorm"), from("self_attn.k_norm.weight")));
  weights.push({
    name: to("output"),
    shape: [hiddenSize, heads * padded],
    fill(flat, into) {
      const data = from("self_attn.o_proj.weight")(flat);
      for (let block = 0; block < hiddenSize * heads; block++) {
        into.set(data.subarray(block * headSize, (block + 1) * headSize), block * padded);
      }
    },
  });
  return weights;
}

/**
 * The scale of an RMSNorm over a padded head: the mean runs over `padded` elements instead of `headSize`, so that
 * scale · √(size/padded) with epsilon · size/padded gives the same values.
 */
function headNorm(config: LlamaConfig, name: string, source: Source): PackedWeight {
  const padded = paddedHeadSize(config);
  const factor = Math.sqrt(config.headSize / padded);
  return {
    name,
    shape: [padded],
    fill(flat, into) {
      const data = source(flat);
      for (let i = 0; i < config.headSize; i++) into[rotaryPlace(config, i)] = (data[i] ?? 0) * factor;
    },
  };
}

function copy(name: string, source: Source, shape: readonly number[]): PackedWeight {
  return { name, shape, fill: (flat, into) => into.set(source(flat)) };
}

function join(name: string, parts: readonly Source[], shape: readonly number[]): PackedWeight {
  return {
    name,
    shape,
    fill(flat, into) {
      let offset = 0;
      for (const part of parts) {
        const data = part(flat);
        into.set(data, offset);
        offset += data.length;
      }
    },
  };
}
