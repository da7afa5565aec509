/** A tokenizer as its model's: what the files of both say together. Pure. */
import type { Tokenizer } from "@oarlock/tokenizer";

/** `tokenizer` for a model that ends texts with `stopTokens`: where it names no end token itself, the first of them is it. */
export function modelTokenizer(
  tokenizer: Tokenizer,
  { stopTokens }: { readonly stopTokens: readonly number[] },
): Tokenizer {
  return { ...tokenizer, eosTokenId: tokenizer.eosTokenId ?? stopTokens[0] };
}
