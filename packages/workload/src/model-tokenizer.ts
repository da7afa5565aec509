/** A tokenizer as its model's: what the files of both say together. Pure. */
import { OarlockError } from "@oarlock/errors";
import type { Tokenizer } from "@oarlock/tokenizer";

/** What of a model its tokenizer must know. */
export interface TokensOfModel {
  /** Rows of the embedding. */
  readonly vocabSize: number;
  /** Tokens that end a text. */
  readonly stopTokens: readonly number[];
}

/**
 * Where the tokenizer names no end token, the first of the model's is it. A tokenizer may know more tokens than the model has: what
 * spells one of those is refused with `TOKENIZER_TOKEN`.
 */
export function modelTokenizer(tokenizer: Tokenizer, { vocabSize, stopTokens }: TokensOfModel): Tokenizer {
  const checked = (tokens: Int32Array): Int32Array => {
    const beyond = tokens.find((token) => token >= vocabSize);
    if (beyond === undefined) return tokens;
    throw new OarlockError(
      "TOKENIZER_TOKEN",
      `the text holds ${JSON.stringify(tokenizer.decode([beyond]))}, token ${beyond}, which the tokenizer has and the model has not; ` +
        `accepted: tokens from 0 to ${vocabSize - 1} (vocab_size is ${vocabSize})`,
    );
  };
  return {
    ...tokenizer,
    eosTokenId: tokenizer.eosTokenId ?? stopTokens[0],
    encode: (text, options) => checked(tokenizer.encode(text, options)),
    encodeChat: (messages, options) => checked(tokenizer.encodeChat(messages, options)),
  };
}
