/** The vocabulary inside a GGUF file as a standard `tokenizer.json`. */
import { OarlockError } from "@oarlock/errors";
import type { TokenizerFiles } from "@oarlock/tokenizer";
import type { JsonObject } from "../json.ts";
import { type Piece, sentencePieceTokenizer, specialToken } from "../sentence-piece.ts";

/** `tokenizer.ggml.token_type`. */
const CONTROL = 3;
const USER_DEFINED = 4;
const UNKNOWN = 2;
const KINDS: ReadonlyMap<number | undefined, Piece["kind"]> = new Map([
  [UNKNOWN, "special"],
  [CONTROL, "special"],
  [USER_DEFINED, "user"],
]);

interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  readonly specials: Readonly<Record<string, string>>;
  readonly chatTemplate?: string;
  readonly addBos: boolean;
}

/** Throws `MODEL_GGUF` for a kind of vocabulary that is not read: then a `tokenizer.json` beside the file is needed. */
export function ggufTokenizer(metadata: JsonObject, path: string): TokenizerFiles {
  const refuse = (what: string): never => {
    throw new OarlockError(
      "MODEL_GGUF",
      `${path}: ${what}; or put the model's tokenizer.json beside the file`,
    );
  };
  const vocabulary =
    readVocabulary(metadata) ?? refuse("it has no tokenizer.ggml.tokens; accepted: a list of texts");
  const model = metadata["tokenizer.ggml.model"];
  if (model === "gpt2") {
    const pre = metadata["tokenizer.ggml.pre"] ?? "default";
    const way =
      (typeof pre === "string" ? ways.get(pre) : undefined) ??
      refuse(`tokenizer.ggml.pre is ${JSON.stringify(pre)}; accepted: ${[...ways.keys()].join(", ")}`);
    return byteLevelTokenizer(vocabulary, texts(metadata["tokenizer.ggml.merges"]) ?? [], way);
  }
  if (model !== "llama") refuse(`tokenizer.ggml.model is ${JSON.stringify(model)}; accepted: gpt2, llama`);
  const scores = metadata["tokenizer.ggml.scores"];
  if (!Array.isArray(scores)) return refuse("it has no tokenizer.ggml.scores");
  const spacePrefix = metadata["tokenizer.ggml.add_space_prefix"] !== false;
  return scoredTokenizer(vocabulary, scores.map(Number), spacePrefix);
}

function scoredTokenizer(
  { tokens, types, specials, chatTemplate, addBos }: Vocabulary,
  scores: readonly number[],
  spacePrefix: boolean,
): TokenizerFiles {
  const pieces = tokens.map((text, id): Piece => {
    return { text, score: scores[id] ?? 0, kind: KINDS.get(types[id]) ?? "normal" };
  });
  return sentencePieceTokenizer(pieces, {
    bos: specials["bos_token"] ?? "<s>",
    eos: specials["eos_token"] ?? "</s>",
    unknown: specials["unk_token"] ?? "<unk>",
    ...(specials["pad_token"] === undefined ? {} : { pad: specials["pad_token"] }),
    ...(chatTemplate === undefined ? {} : { chatTemplate }),
    spacePrefix,
    addBos,
  });
}

const texts = (value: unknown): string[] | undefined =>
  Array.isArray(value) && value.every((item) => typeof item === "string") ? value : undefined;

const SPECIAL_FIELDS = {
  bos_token: "bos_token_id",
  eos_token: "eos_token_id",
  unk_token: "unknown_token_id",
  pad_token: "padding_token_id",
} as const;

function readVocabulary(metadata: JsonObject): Vocabulary | undefined {
  const tokens = texts(metadata["tokenizer.ggml.tokens"]);
  if (tokens === undefined) return undefined;
  const types = metadata["tokenizer.ggml.token_type"];
  const specials: Record<string, string> = {};
  for (const [name, field] of Object.entries(SPECIAL_FIELDS)) {
    const token = tokens[Number(metadata[`tokenizer.ggml.${field}`])];
    if (token !== undefined) specials[name] = token;
  }
  const template = metadata["tokenizer.chat_template"];
  return {
    tokens,
    types: Array.isArray(types) ? types.map(Number) : [],
    specials,
    ...(typeof template === "string" ? { chatTemplate: template } : {}),
    // Of Llama 3's files, too, llama.cpp knows it where they do not say it.
    addBos:
      (metadata["tokenizer.ggml.add_bos_token"] ??
        (metadata["tokenizer.ggml.model"] === "llama" || metadata["tokenizer.ggml.pre"] === "llama-bpe")) ===
      true,
  };
}

const byteLevel = (useRegex: boolean): object => ({
  type: "ByteLevel",
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: useRegex,
});
const split = (digits: string): object => ({
  type: "Split",
  pattern: {
    Regex: `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
  },
  behavior: "Isolated",
  invert: false,
});
const sequence = (...steps: readonly object[]): object => ({ type: "Sequence", pretokenizers: steps });

interface Way {
  /** How texts are cut into words before merging. */
  readonly preTokenizer: object;
  /** A word that is a token is that one, whatever merging would make of it. */
  readonly ignoreMerges?: boolean;
}

/** By the name that llama.cpp gives to each way. */
const ways: ReadonlyMap<string, Way> = new Map<string, Way>([
  ["default", { preTokenizer: byteLevel(true) }],
  ["gpt-2", { preTokenizer: byteLevel(true) }],
  ["smollm", { preTokenizer: sequence({ type: "Digits", individual_digits: true }, byteLevel(true)) }],
  ["qwen2", { preTokenizer: sequence(split("\\p{N}"), byteLevel(false)) }],
  ["llama-bpe", { preTokenizer: sequence(split("\\p{N}{1,3}"), byteLevel(false)), ignoreMerges: true }],
]);

function byteLevelTokenizer(
  vocabulary: Vocabulary,
  merges: readonly string[],
  { preTokenizer, ignoreMerges = false }: Way,
): TokenizerFiles {
  const { tokens, types, specials, chatTemplate, addBos } = vocabulary;
  const bos = specials["bos_token"];
  const start = addBos && bos !== undefined ? [{ SpecialToken: { id: bos, type_id: 0 } }] : [];
  const tokenizer = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: tokens.flatMap((text, id) =>
      types[id] === CONTROL || types[id] === USER_DEFINED
        ? [specialToken(text, id, types[id] === CONTROL)]
        : [],
    ),
    normalizer: null,
    pre_tokenizer: preTokenizer,
    post_processor: {
      type: "TemplateProcessing",
      single: [...start, { Sequence: { id: "A", type_id: 0 } }],
      pair: [...start, { Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
      special_tokens:
        start.length > 0 && bos !== undefined
          ? { [bos]: { id: bos, ids: [tokens.indexOf(bos)], tokens: [bos] } }
          : {},
    },
    decoder: byteLevel(true),
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: "",
      end_of_word_suffix: "",
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: ignoreMerges,
      vocab: Object.fromEntries(tokens.map((text, id) => [text, id])),
      merges: merges.map((merge) => {
        const cut = merge.indexOf(" ", 1);
        return [merge.slice(0, cut), merge.slice(cut + 1)];
      }),
    },
  };
  const config = {
    tokenizer_class: "PreTrainedTokenizerFast",
    ...specials,
    clean_up_tokenization_spaces: false,
    ...(chatTemplate === undefined ? {} : { chat_template: chatTemplate }),
  };
  return { tokenizer: JSON.stringify(tokenizer), config: JSON.stringify(config, null, 2) };
}
