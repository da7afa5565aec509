/**
 * Where each parameter lies in the one flat array that a policy's weights, gradients and moments are: derived from the
 * configuration alone.
 *
 * Two things follow from the order. Matrices that multiply the same activations lie side by side without a gap (q, k, v;
 * gate, up), so that one view of the array is their concatenation and one product does for all. And everything that
 * weight decay applies to comes first, so that decay is a boundary and not a mask.
 */
import { elementCount } from "@oarlock/tensor";
import { checkConfig, type LlamaConfig } from "./config.ts";

export interface Parameter {
  /** The name and the orientation ([out, in]) of Hugging Face checkpoints. */
  readonly name: string;
  readonly shape: readonly number[];
  /** First element in the flat array. */
  readonly offset: number;
  /** Number of elements. */
  readonly size: number;
  /** Whether weight decay applies: to matrices, not to norms and biases. */
  readonly decay: boolean;
}

/** A stretch of the flat array that the graphs take as one matrix or vector. */
export interface WeightView {
  /** The name of the graph's input: "embedding", "layer0.qkv", …, "finalNorm", "head" or "score". */
  readonly name: string;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly size: number;
}

export interface ParameterLayout {
  readonly parameters: readonly Parameter[];
  readonly views: readonly WeightView[];
  /** Elements of the flat array, gaps included. Gaps hold zeros, for ever. */
  readonly length: number;
  /** Weight decay applies to the elements before this one. */
  readonly decayLength: number;
}

/** Views begin at multiples of this many floats: a cache line. */
const ALIGNMENT = 16;

interface Part {
  readonly name: string;
  readonly shape: readonly number[];
}
/** Parts that lie side by side and are one view. */
interface Group {
  readonly view: string;
  readonly parts: readonly Part[];
}

/** Throws `NN_CONFIG` where the configuration makes no model. */
export function parameterLayout(config: LlamaConfig): ParameterLayout {
  checkConfig(config);
  const parameters: Parameter[] = [];
  const views: WeightView[] = [];
  let end = 0;
  const place = (groups: readonly Group[], decay: boolean): void => {
    for (const { view, parts } of groups) {
      const start = end;
      for (const { name, shape } of parts) {
        const size = elementCount(shape);
        parameters.push({ name, shape, offset: end, size, decay });
        end += size;
      }
      const rows = parts.reduce((sum, { shape }) => sum + (shape[0] ?? 0), 0);
      views.push({
        name: view,
        shape: [rows, ...(parts[0]?.shape.slice(1) ?? [])],
        offset: start,
        size: end - start,
      });
      end = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
    }
  };
  place(matrices(config), true);
  const decayLength = end;
  place(vectors(config), false);
  return { parameters, views, length: end, decayLength };
}

/** How many numbers are trained. */
export function parameterCount(config: LlamaConfig): number {
  return parameterLayout(config).parameters.reduce((sum, { size }) => sum + size, 0);
}

const layerNumbers = (config: LlamaConfig): number[] =>
  Array.from({ length: config.layers }, (_, layer) => layer);

function matrices(config: LlamaConfig): Group[] {
  const { hiddenSize: D, intermediateSize: F, vocabSize: V, headSize: S } = config;
  const [Q, K] = [config.heads * S, config.kvHeads * S];
  const inLayer = (layer: number): Group[] => {
    const part = (name: string, rows: number, columns: number): Part => ({
      name: `model.layers.${layer}.${name}.weight`,
      shape: [rows, columns],
    });
    const attention = [
      part("self_attn.q_proj", Q, D),
      part("self_attn.k_proj", K, D),
      part("self_attn.v_proj", K, D),
    ];
    return [
      { view: `layer${layer}.qkv`, parts: attention },
      { view: `layer${layer}.output`, parts: [part("self_attn.o_proj", D, Q)] },
      { view: `layer${layer}.gateUp`, parts: [part("mlp.gate_proj", F, D), part("mlp.up_proj", F, D)] },
      { view: `layer${layer}.down`, parts: [part("mlp.down_proj", D, F)] },
    ];
  };
  return [
    { view: "embedding", parts: [{ name: "model.embed_tokens.weight", shape: [V, D] }] },
    ...layerNumbers(config).flatMap(inLayer),
    ...headMatrices(config),
  ];
}

/** A score needs a matrix of its own; logits only where they are not those of the embedding. */
function headMatrices({
  head = "logits",
  tiedEmbeddings,
  vocabSize: V,
  hiddenSize: D,
}: LlamaConfig): Group[] {
  const score: Group[] = [{ view: "score", parts: [{ name: "score.weight", shape: [1, D] }] }];
  if (head === "score") return score;
  const logits: Group[] = tiedEmbeddings
    ? []
    : [{ view: "head", parts: [{ name: "lm_head.weight", shape: [V, D] }] }];
  return head === "both" ? [...logits, ...score] : logits;
}

function vectors(config: LlamaConfig): Group[] {
  const { hiddenSize: D, headSize: S } = config;
  const [Q, K] = [config.heads * S, config.kvHeads * S];
  const inLayer = (layer: number): Group[] => {
    const part = (name: string, size: number): Part => ({
      name: `model.layers.${layer}.${name}`,
      shape: [size],
    });
    const one = (view: string, name: string, size: number): Group => ({
      view: `layer${layer}.${view}`,
      parts: [part(name, size)],
    });
    const biases = [
      part("self_attn.q_proj.bias", Q),
      part("self_attn.k_proj.bias", K),
      part("self_attn.v_proj.bias", K),
    ];
    return [
      one("inputNorm", "input_layernorm.weight", D),
      ...(config.qkvBias ? [{ view: `layer${layer}.qkvBias`, parts: biases }] : []),
      ...(config.qkNorm
        ? [one("qNorm", "self_attn.q_norm.weight", S), one("kNorm", "self_attn.k_norm.weight", S)]
        : []),
      one("attentionNorm", "post_attention_layernorm.weight", D),
    ];
  };
  return [
    ...layerNumbers(config).flatMap(inLayer),
    { view: "finalNorm", parts: [{ name: "model.norm.weight", shape: [D] }] },
  ];
}
