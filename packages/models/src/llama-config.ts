/**
 * `config.json` of Hugging Face and the dimensions it describes. Accepted: Llama, Qwen2 and Qwen3 without the extensions
 * that would change the mathematics (scaled RoPE, sliding windows, biases elsewhere); anything else is refused by field.
 */
import { join } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { checkConfig, type LlamaConfig } from "@oarlock/nn";
import { type FieldReader, fieldReader, isObject, type JsonObject } from "./json.ts";

interface Family {
  /** `model_type`. */
  readonly type: string;
  /** Class of a policy, and of a model that gives a score. */
  readonly architecture: string;
  readonly scorer: string;
  readonly qkvBias: boolean;
  readonly qkNorm: boolean;
  readonly maxPositions: number;
}

const families: readonly Family[] = [
  {
    type: "llama",
    architecture: "LlamaForCausalLM",
    scorer: "LlamaForSequenceClassification",
    qkvBias: false,
    qkNorm: false,
    maxPositions: 2048,
  },
  {
    type: "qwen2",
    architecture: "Qwen2ForCausalLM",
    scorer: "Qwen2ForSequenceClassification",
    qkvBias: true,
    qkNorm: false,
    maxPositions: 32_768,
  },
  {
    type: "qwen3",
    architecture: "Qwen3ForCausalLM",
    scorer: "Qwen3ForSequenceClassification",
    qkvBias: false,
    qkNorm: true,
    maxPositions: 32_768,
  },
];

const CODE = "MODEL_CONFIG";

/** Limits far above every model in use, so that a hostile file is refused before anything is allocated. */
export const LIMITS = {
  vocabSize: 4_194_304,
  width: 262_144,
  layers: 1024,
  heads: 4096,
  positions: 16_777_216,
} as const;

/** Throws `MODEL_CONFIG` with file, field, value and what is accepted. */
export function readLlamaConfig(config: JsonObject, file = "config.json"): LlamaConfig {
  const fields = fieldReader(file, config, CODE);
  const family = families.find(({ type }) => type === config["model_type"]);
  if (family === undefined) {
    return fields.refuse("model_type", config["model_type"], families.map(({ type }) => type).join(", "));
  }
  refuseExtensions(config, family, fields);
  const heads = fields.number("num_attention_heads", { min: 1, max: LIMITS.heads });
  const hiddenSize = fields.number("hidden_size", { min: 1, max: LIMITS.width });
  return checkConfig({
    vocabSize: fields.number("vocab_size", { min: 1, max: LIMITS.vocabSize }),
    hiddenSize,
    intermediateSize: fields.number("intermediate_size", { min: 1, max: LIMITS.width }),
    layers: fields.number("num_hidden_layers", { min: 1, max: LIMITS.layers }),
    heads,
    kvHeads: fields.number("num_key_value_heads", { min: 1, max: heads, default: heads }),
    headSize: fields.number("head_dim", { min: 2, max: LIMITS.width, default: hiddenSize / heads }),
    ropeTheta: readTheta(config, file),
    ropeConvention: "half-split",
    rmsNormEps: fields.number("rms_norm_eps", { min: 0, max: 1, whole: false, default: 1e-6 }),
    maxPositions: fields.number("max_position_embeddings", {
      min: 1,
      max: LIMITS.positions,
      default: family.maxPositions,
    }),
    tiedEmbeddings: fields.flag("tie_word_embeddings", false),
    qkvBias: family.qkvBias,
    qkNorm: family.qkNorm,
    ...readHead(config, family, fields),
  });
}

/** Classes of transformers that are neither a policy nor, with this family, a model that gives one score. */
const OTHER_HEADS = /For(SequenceClassification|TokenClassification|QuestionAnswering|MultipleChoice)$/;

/** A classifier with one label is a model that gives a score. transformers says how many labels by naming them. */
function readHead(config: JsonObject, family: Family, fields: FieldReader): Pick<LlamaConfig, "head"> {
  const { architectures, id2label, num_labels: stated } = config;
  const [named]: unknown[] = Array.isArray(architectures) ? architectures : [];
  if (named !== family.scorer) {
    // Of a head that nothing here computes; names of other forms are those of policies that somebody has extended.
    if (typeof named === "string" && OTHER_HEADS.test(named))
      fields.refuse("architectures", named, `${family.architecture}, or ${family.scorer} with one label`);
    return {};
  }
  const labels = isObject(id2label) ? Object.keys(id2label).length : (stated ?? 2);
  if (labels !== 1) fields.refuse("id2label", labels, "one label: a reward model");
  return { head: "score" };
}

function refuseExtensions(config: JsonObject, family: Family, fields: FieldReader): void {
  const only = (field: string, accepted: readonly unknown[]): void => {
    const value = config[field] ?? accepted[0];
    if (!accepted.includes(value))
      fields.refuse(field, value, accepted.map((v) => JSON.stringify(v)).join(", "));
  };
  only("hidden_act", ["silu", "swish"]);
  only("mlp_bias", [false]);
  if (family.type !== "qwen2") only("attention_bias", [false]);
  only("use_sliding_window", [false]);
  const { quantization_config: quantization } = config;
  if (isObject(quantization))
    fields.refuse(
      "quantization_config",
      quantization["quant_method"] ?? quantization,
      "weights that are not quantized",
    );
  // transformers 5 writes `rope_parameters`, older ones `rope_scaling`.
  for (const field of ["rope_scaling", "rope_parameters"]) {
    const scaling = config[field];
    if (!isObject(scaling)) continue;
    const type = scaling["rope_type"] ?? scaling["type"] ?? "default";
    if (type !== "default") fields.refuse(`${field}.rope_type`, type, '"default"');
  }
}

function readTheta(config: JsonObject, file: string): number {
  const nested = config["rope_parameters"];
  const holder = isObject(nested) && nested["rope_theta"] !== undefined ? nested : config;
  const bounds = { min: 1e-3, max: 1e12, whole: false, default: 10_000 };
  return fieldReader(file, holder, CODE).number("rope_theta", bounds);
}

/** Ids of tokens with a meaning to samplers. */
export interface SpecialTokens {
  readonly bosTokenId?: number;
  readonly padTokenId?: number;
  /** Tokens that end a text; may be several. */
  readonly eosTokenIds: readonly number[];
}

/**
 * The `config.json` of a model. Throws `MODEL_CONFIG` where no architecture of the field has these features (biases and
 * q/k norms together).
 */
export function writeLlamaConfig(config: LlamaConfig, specials: SpecialTokens, dtype: string): JsonObject {
  const family = families.find(
    ({ qkvBias, qkNorm }) => qkvBias === config.qkvBias && qkNorm === config.qkNorm,
  );
  if (family === undefined) {
    throw new OarlockError(CODE, "qkvBias and qkNorm are both true; accepted: at most one of them");
  }
  return {
    ...(config.head === "score"
      ? { architectures: [family.scorer], id2label: { 0: "score" }, label2id: { score: 0 } }
      : { architectures: [family.architecture] }),
    model_type: family.type,
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.kvHeads,
    head_dim: config.headSize,
    hidden_act: "silu",
    max_position_embeddings: config.maxPositions,
    rms_norm_eps: config.rmsNormEps,
    // Both spellings: transformers before and from 5 on.
    rope_theta: config.ropeTheta,
    rope_parameters: { rope_theta: config.ropeTheta, rope_type: "default" },
    tie_word_embeddings: config.tiedEmbeddings,
    ...(family.type === "qwen2" ? {} : { attention_bias: false }),
    ...(family.type === "llama" ? { mlp_bias: false } : {}),
    ...writeSpecials(specials),
    dtype,
    torch_dtype: dtype,
    use_cache: true,
  };
}

/** As `config.json` and `generation_config.json` state them. */
export function writeSpecials({ bosTokenId, padTokenId, eosTokenIds }: SpecialTokens): JsonObject {
  return {
    bos_token_id: bosTokenId ?? null,
    eos_token_id: eosTokenIds.length > 1 ? eosTokenIds : (eosTokenIds[0] ?? null),
    pad_token_id: padTokenId ?? null,
  };
}

/**
 * From both files of a folder; what `generation_config.json` says wins, as it does in transformers. Throws `MODEL_CONFIG` where what
 * is said is no id.
 */
export function readSpecials(
  folder: string,
  { config, generation }: { readonly config: JsonObject; readonly generation: JsonObject },
): SpecialTokens {
  const idsOf = (field: string): readonly number[] => {
    const wins = generation[field] !== undefined && generation[field] !== null;
    const [name, object] = wins ? ["generation_config.json", generation] : ["config.json", config];
    const value = object[field] ?? [];
    const ids: unknown[] = Array.isArray(value) ? value : [value];
    const isId = (id: unknown): id is number => Number.isSafeInteger(id);
    if (!ids.every(isId))
      fieldReader(join(folder, name), object, CODE).refuse(
        field,
        value,
        "the id of a token, or a list of ids",
      );
    // In some files −1 says that there is none.
    return ids.filter(isId).filter((id) => id >= 0);
  };
  const [[bosTokenId], [padTokenId]] = [idsOf("bos_token_id"), idsOf("pad_token_id")];
  return {
    ...(bosTokenId === undefined ? {} : { bosTokenId }),
    ...(padTokenId === undefined ? {} : { padTokenId }),
    eosTokenIds: idsOf("eos_token_id"),
  };
}
