/**
 * Text to token ids and back, by a model's own `tokenizer.json`. The only importer of the tokenizer library.
 *
 * Training never decodes and encodes again (token in, token out): decoding is for people and verifiers.
 */
import { createHash } from "node:crypto";
import { Tokenizer as Engine } from "@huggingface/tokenizers";
import { OarlockError } from "@oarlock/errors";
import { type ChatMessage, createChatRenderer, findChatTemplate, type RenderOptions } from "./chat.ts";
import { isObject, type JsonObject, parseFile, type TokenizerFiles } from "./files.ts";

/** A loaded tokenizer. Encoding is compute (P1): long texts belong into a worker. */
export interface Tokenizer {
  /** One more than the largest id. */
  readonly vocabSize: number;
  /** The id of every token by its text. */
  readonly vocabulary: ReadonlyMap<string, number>;
  readonly bosTokenId: number | undefined;
  readonly eosTokenId: number | undefined;
  readonly padTokenId: number | undefined;
  /** SHA-256 of the tokenizer's two JSON files. */
  readonly digest: string;
  /** SHA-256 of the chat template; "" where there is none. */
  readonly templateDigest: string;
  /** Throws `TOKENIZER_TEXT` where the vocabulary lacks a character and has no way to spell it. */
  encode(text: string, options?: EncodeOptions): Int32Array;
  /** Throws `TOKENIZER_ID` for an id outside of the vocabulary. */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  /** The messages as one text. Throws `TOKENIZER_TEMPLATE`; `TOKENIZER_NO_TEMPLATE` where the model has none. */
  renderChat(messages: readonly ChatMessage[], options?: RenderOptions): string;
  /** The ids of `renderChat`, whose text already holds its special tokens. */
  encodeChat(messages: readonly ChatMessage[], options?: RenderOptions): Int32Array;
}

export interface EncodeOptions {
  /** Adds what the model expects around a text, e.g. a leading bos token. Default true. */
  readonly addSpecialTokens?: boolean;
  /** The text continues another one: it gets none of the spaces that SentencePiece puts in front of texts. Default false. */
  readonly continues?: boolean;
}

export interface DecodeOptions {
  /** Leaves special tokens out of the text. Default false. */
  readonly skipSpecialTokens?: boolean;
}

/** Builds a tokenizer from the texts of its files. Throws `TOKENIZER_FILE` where they are none. */
export function createTokenizer(files: TokenizerFiles): Tokenizer {
  const definition = parseFile("tokenizer.json", files.tokenizer);
  const config = parseFile("tokenizer_config.json", files.config);
  const engine = createEngine(definition, config);
  const continuing = continuingEngine(engine, files);
  const vocabulary = engine.get_vocab(true);
  const vocabSize = largestId(vocabulary.values()) + 1;
  const specials = specialTokens(config);
  const idOf = (name: string): number | undefined => {
    const token = specials[name];
    return token === undefined ? undefined : vocabulary.get(token);
  };
  const template = findChatTemplate(config, files.chatTemplate);
  const renderer = template === undefined ? undefined : createChatRenderer(template, specials);
  const checkText = closedVocabularyCheck(definition, vocabulary);

  const encode = (
    text: string,
    { addSpecialTokens = true, continues = false }: EncodeOptions = {},
  ): Int32Array => {
    checkText(text);
    const chosen = continues ? continuing() : engine;
    return Int32Array.from(chosen.encode(text, { add_special_tokens: addSpecialTokens }).ids);
  };
  const decode = (ids: ArrayLike<number>, { skipSpecialTokens = false }: DecodeOptions = {}): string => {
    if (ids.length === 0) return ""; // the library refuses an empty list
    return engine.decode(checkIds(ids, vocabSize), {
      skip_special_tokens: skipSpecialTokens,
      clean_up_tokenization_spaces: false,
    });
  };
  const renderChat = (messages: readonly ChatMessage[], options?: RenderOptions): string => {
    if (renderer !== undefined) return renderer.render(messages, options);
    throw new OarlockError(
      "TOKENIZER_NO_TEMPLATE",
      "this model has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json), so it takes plain prompts only",
    );
  };
  return {
    vocabSize,
    vocabulary,
    bosTokenId: idOf("bos_token"),
    eosTokenId: idOf("eos_token"),
    padTokenId: idOf("pad_token"),
    digest: sha256(`${files.tokenizer}\0${files.config}`),
    templateDigest: template === undefined ? "" : sha256(template),
    encode,
    decode,
    renderChat,
    encodeChat: (messages, options) => encode(renderChat(messages, options), { addSpecialTokens: false }),
  };
}

function createEngine(definition: JsonObject, config: JsonObject): Engine {
  const model = definition["model"];
  if (!isObject(model) || (!isObject(model["vocab"]) && !Array.isArray(model["vocab"]))) {
    throw new OarlockError("TOKENIZER_FILE", "tokenizer.json has no model.vocab");
  }
  try {
    return new Engine(definition, config);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new OarlockError("TOKENIZER_FILE", `tokenizer.json cannot be used: ${reason}`, { cause });
  }
}

/** The engine for texts that continue others; made when it is first asked for, where it is another one at all. */
function continuingEngine(engine: Engine, files: TokenizerFiles): () => Engine {
  const make = (): Engine => {
    const definition = parseFile("tokenizer.json", files.tokenizer);
    const { normalizer, pre_tokenizer: preTokenizer } = definition;
    const bare = { normalizer: withoutPrefix(normalizer), pre_tokenizer: withoutPrefix(preTokenizer) };
    if (JSON.stringify(bare) === JSON.stringify({ normalizer, pre_tokenizer: preTokenizer })) return engine;
    return createEngine({ ...definition, ...bare }, parseFile("tokenizer_config.json", files.config));
  };
  let give = (): Engine => {
    const made = make();
    give = () => made;
    return made;
  };
  return () => give();
}

/** A normalizer or pre-tokenizer that puts nothing in front of a text. */
function withoutPrefix(step: unknown): unknown {
  if (!isObject(step)) return step;
  const { type, normalizers, pretokenizers } = step;
  if (type === "Prepend") return null;
  return {
    ...step,
    ...(type === "Metaspace" ? { prepend_scheme: "never" } : {}),
    ...(type === "ByteLevel" ? { add_prefix_space: false } : {}),
    ...(Array.isArray(normalizers) ? { normalizers: normalizers.map(withoutPrefix) } : {}),
    ...(Array.isArray(pretokenizers) ? { pretokenizers: pretokenizers.map(withoutPrefix) } : {}),
  };
}

/** Those that transformers hands to a chat template. */
const SPECIAL_NAMES = [
  "bos_token",
  "eos_token",
  "pad_token",
  "unk_token",
  "sep_token",
  "cls_token",
  "mask_token",
] as const;

/** `{ bos_token: "<s>", … }`: each is a text in the file, or an object with its `content`. */
function specialTokens(config: JsonObject): Record<string, string> {
  const tokens: Record<string, string> = {};
  for (const name of SPECIAL_NAMES) {
    const stated = config[name];
    const content = isObject(stated) ? stated["content"] : stated;
    if (typeof content === "string") tokens[name] = content;
  }
  return tokens;
}

/**
 * The library drops characters that a vocabulary cannot spell. Where the model is BPE without bytes and without an
 * unknown token (the character tokenizer), that would train on a text which nobody wrote: refused here.
 */
function closedVocabularyCheck(
  definition: JsonObject,
  vocabulary: ReadonlyMap<string, number>,
): (text: string) => void {
  const model = isObject(definition["model"]) ? definition["model"] : {};
  const spellsBytes = model["byte_fallback"] === true || JSON.stringify(definition).includes('"ByteLevel"');
  const hasUnknown = typeof model["unk_token"] === "string";
  if (model["type"] !== "BPE" || spellsBytes || hasUnknown || definition["normalizer"]) return () => {};
  const added = Array.isArray(definition["added_tokens"]) ? definition["added_tokens"] : [];
  const contents = added.flatMap((token: unknown) => (isObject(token) ? [String(token["content"])] : []));
  return (text) => {
    const plain = contents.reduce((rest, content) => rest.replaceAll(content, ""), text);
    for (const character of plain) {
      if (vocabulary.has(character)) continue;
      throw new OarlockError(
        "TOKENIZER_TEXT",
        `${JSON.stringify(plain.length > 80 ? `${plain.slice(0, 80)}…` : plain)} holds ${JSON.stringify(character)}, which is not in the tokenizer's alphabet`,
      );
    }
  };
}

function checkIds(ids: ArrayLike<number>, vocabSize: number): number[] {
  return Array.from(ids, (id) => {
    if (Number.isSafeInteger(id) && id >= 0 && id < vocabSize) return id;
    throw new OarlockError("TOKENIZER_ID", `token id ${id} is outside of the vocabulary of ${vocabSize}`);
  });
}

function largestId(ids: Iterable<number>): number {
  let largest = -1;
  for (const id of ids) largest = Math.max(largest, id);
  return largest;
}

const sha256 = (text: string): string => createHash("sha256").update(text, "utf8").digest("hex");
