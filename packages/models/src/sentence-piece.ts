/**
 * Vocabularies of SentencePiece (texts with scores) as a standard `tokenizer.json`: BPE with byte fallback, whose merges
 * are what the scores imply. The same steps as in transformers' converter, so that the files are alike.
 */
import { OarlockError } from "@oarlock/errors";
import type { TokenizerFiles } from "@oarlock/tokenizer";

export interface Piece {
  /** With "▁" for a space; bytes as "<0x0A>". */
  readonly text: string;
  readonly score: number;
  /** A piece of the user's is one token wherever a text holds it, as a special one, and part of the text that tokens say. */
  readonly kind: "normal" | "user" | "special";
}

export interface SentencePieceOptions {
  readonly bos: string;
  readonly eos: string;
  readonly unknown: string;
  readonly pad?: string;
  readonly chatTemplate?: string;
  /** Puts a space in front of every text, as Llama's do. Default true. */
  readonly spacePrefix?: boolean;
  /** Puts the bos token in front of every text. Default true. */
  readonly addBos?: boolean;
}

const MAX_PIECE_CHARACTERS = 512;

/** The index in the array is the id. Throws `MODEL_TOKENIZER` where a text occurs twice. */
export function sentencePieceTokenizer(
  pieces: readonly Piece[],
  options: SentencePieceOptions,
): TokenizerFiles {
  const { bos, eos, unknown, pad = unknown, chatTemplate, spacePrefix = true, addBos = true } = options;
  const ids = new Map<string, number>();
  for (const [id, { text }] of pieces.entries()) {
    if (ids.has(text)) {
      throw new OarlockError(
        "MODEL_TOKENIZER",
        `${JSON.stringify(text)} is token ${ids.get(text)} and token ${id}`,
      );
    }
    ids.set(text, id);
  }
  const space = { type: "Replace", pattern: { String: " " }, content: "▁" };
  const sequence = (id: string): object => ({ Sequence: { id, type_id: 0 } });
  const start = addBos ? [{ SpecialToken: { id: bos, type_id: 0 } }] : [];
  const tokenizer = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: pieces.flatMap(({ text, kind }, id) =>
      kind === "normal" ? [] : [specialToken(text, id, kind === "special")],
    ),
    normalizer: {
      type: "Sequence",
      normalizers: [...(spacePrefix ? [{ type: "Prepend", prepend: "▁" }] : []), space],
    },
    pre_tokenizer: null,
    post_processor: {
      type: "TemplateProcessing",
      single: [...start, sequence("A")],
      pair: [...start, sequence("A"), ...start, sequence("B")],
      special_tokens: addBos ? { [bos]: { id: bos, ids: [ids.get(bos) ?? 0], tokens: [bos] } } : {},
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(spacePrefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: unknown,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: Object.fromEntries(ids),
      merges: impliedMerges(pieces, ids),
    },
  };
  const config = {
    tokenizer_class: "PreTrainedTokenizerFast",
    bos_token: bos,
    eos_token: eos,
    unk_token: unknown,
    pad_token: pad,
    clean_up_tokenization_spaces: false,
    ...(chatTemplate === undefined ? {} : { chat_template: chatTemplate }),
  };
  return { tokenizer: JSON.stringify(tokenizer, null, 2), config: JSON.stringify(config, null, 2) };
}

/** An entry of `added_tokens`. */
export const specialToken = (content: string, id: number, special = true): object => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special,
});

interface Merge {
  readonly left: string;
  readonly right: string;
  readonly score: number;
  /** Order among merges of one piece. */
  readonly place: readonly [number, number];
}

/** Every way to make a piece of two others; the best score merges first, on ties that of the lower ids. */
function impliedMerges(pieces: readonly Piece[], ids: ReadonlyMap<string, number>): [string, string][] {
  const merges: Merge[] = [];
  for (const { text, score, kind } of pieces) {
    const characters = Array.from(text);
    if (kind === "special" || characters.length > MAX_PIECE_CHARACTERS) continue;
    for (let cut = 1; cut < characters.length; cut++) {
      const [left, right] = [characters.slice(0, cut).join(""), characters.slice(cut).join("")];
      const place = [ids.get(left), ids.get(right)] as const;
      if (place[0] === undefined || place[1] === undefined) continue;
      merges.push({ left, right, score, place: [place[0], place[1]] });
    }
  }
  merges.sort((a, b) => b.score - a.score || a.place[0] - b.place[0] || a.place[1] - b.place[1]);
  return merges.map(({ left, right }) => [left, right]);
}
