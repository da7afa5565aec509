/**
 * A tokenizer of single characters, written as a standard `tokenizer.json`, so that every reader of that format loads
 * it. Three special tokens come first, then the alphabet in its order.
 */
import { OarlockError } from "@oarlock/errors";
import type { TokenizerFiles } from "./files.ts";

/** The special tokens of a character tokenizer; their ids are their places. */
export const CHARACTER_SPECIALS = ["<pad>", "<bos>", "<eos>"] as const;

const MAX_ALPHABET = 65_536;

export interface CharacterTokenizerOptions {
  /** Every character that texts may hold, once each, e.g. "0123456789+=". */
  readonly alphabet: string;
}

/**
 * The files of a tokenizer that turns each character of `alphabet` into one token, after pad (0), bos (1), eos (2).
 * Throws `TOKENIZER_ALPHABET` where a character occurs twice, none is there, or one is half of a surrogate pair.
 */
export function characterTokenizer(options: CharacterTokenizerOptions): TokenizerFiles {
  const characters = checkAlphabet(options.alphabet);
  const [pad, bos, eos] = CHARACTER_SPECIALS;
  const tokens = [...CHARACTER_SPECIALS, ...characters];
  const tokenizer = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: CHARACTER_SPECIALS.map(addedToken),
    normalizer: null,
    // Each character is a word of its own, so that the model below never has to merge.
    pre_tokenizer: { type: "Split", pattern: { Regex: "[\\s\\S]" }, behavior: "Isolated", invert: false },
    post_processor: null,
    decoder: { type: "Fuse" },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: [],
    },
  };
  const config = {
    tokenizer_class: "PreTrainedTokenizerFast",
    bos_token: bos,
    eos_token: eos,
    pad_token: pad,
    clean_up_tokenization_spaces: false,
    model_max_length: 1_000_000,
  };
  return { tokenizer: JSON.stringify(tokenizer, null, 2), config: JSON.stringify(config, null, 2) };
}

const addedToken = (content: string, id: number): object => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});

function checkAlphabet(alphabet: string): string[] {
  const refuse = (why: string): never => {
    throw new OarlockError(
      "TOKENIZER_ALPHABET",
      `alphabet ${why}; accepted: every character of the texts, once`,
    );
  };
  if (alphabet.length === 0) refuse("is empty");
  if (alphabet.length > MAX_ALPHABET) refuse(`has ${alphabet.length} characters, more than ${MAX_ALPHABET}`);
  const characters = Array.from(alphabet); // by code point
  const seen = new Set<string>();
  for (const character of characters) {
    if (/^[\ud800-\udfff]$/.test(character)) refuse("holds half of a surrogate pair");
    if (seen.has(character)) refuse(`holds ${JSON.stringify(character)} twice`);
    seen.add(character);
  }
  return characters;
}
