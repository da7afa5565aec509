/** Tokenizers and chat templates of Hugging Face model folders, and a character tokenizer in the same form. */
export { createTokenizer } from "./tokenizer.ts";
export type { DecodeOptions, EncodeOptions, Tokenizer } from "./tokenizer.ts";
export type { TokenizerFiles } from "./files.ts";
export { CHARACTER_SPECIALS, characterTokenizer } from "./characters.ts";
export type { CharacterTokenizerOptions } from "./characters.ts";
export type { ChatMessage, RenderOptions } from "./chat.ts";
