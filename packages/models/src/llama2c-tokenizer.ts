/** Tokenizers of llama2.c (`tok512.bin`, `tokenizer.bin`): a length, then a score and a text for each token. */
import { OarlockError } from "@oarlock/errors";
import type { TokenizerFiles } from "@oarlock/tokenizer";
import { type Piece, sentencePieceTokenizer } from "./sentence-piece.ts";

export interface Llama2cTokenizerOptions {
  /** For messages. */
  readonly file: string;
  readonly vocabSize: number;
}

const MAX_PIECE_BYTES = 4096;
/** Ids 0, 1 and 2 whatever text the file shows for them. */
const SPECIAL_TEXTS = ["<unk>", "<s>", "</s>"];

/** As a standard `tokenizer.json`. Throws `MODEL_LLAMA2C` where the file is cut or its lengths are wrong. */
export function readLlama2cTokenizer(bytes: Uint8Array, options: Llama2cTokenizerOptions): TokenizerFiles {
  const { file, vocabSize } = options;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const refuse = (why: string): never => {
    throw new OarlockError(
      "MODEL_LLAMA2C",
      `${file} is no llama2.c tokenizer of ${vocabSize} tokens: ${why}`,
    );
  };
  const pieces: Piece[] = [];
  let at = 4; // the longest length comes first and is not needed
  for (let id = 0; id < vocabSize; id++) {
    if (at + 8 > bytes.length) refuse(`it ends after ${id} tokens`);
    const score = view.getFloat32(at, true);
    const length = view.getInt32(at + 4, true);
    at += 8;
    if (length < 0 || length > MAX_PIECE_BYTES || at + length > bytes.length) {
      refuse(`token ${id} claims ${length} bytes`);
    }
    const text = decode(bytes.subarray(at, at + length)) ?? refuse(`token ${id} is no UTF-8`);
    // llama2.c shows the sentence piece marker as a space.
    const special = SPECIAL_TEXTS[id];
    pieces.push(
      special === undefined
        ? { text: text.replaceAll(" ", "▁"), score, kind: "normal" }
        : { text: special, score, kind: "special" },
    );
    at += length;
  }
  if (at !== bytes.length) refuse(`${bytes.length - at} bytes follow the last token`);
  return sentencePieceTokenizer(pieces, { bos: "<s>", eos: "</s>", unknown: "<unk>", pad: "<unk>" });
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined; // the caller says which token
  }
}
