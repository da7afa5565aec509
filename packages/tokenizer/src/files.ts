/**
 * A tokenizer as the files of a Hugging Face model folder, parsed. Reads and writes no disk: whoever loads a model hands
 * the texts over.
 */
import { OarlockError } from "@oarlock/errors";

/** The files' texts, as they are in the folder. */
export interface TokenizerFiles {
  /** `tokenizer.json`. */
  readonly tokenizer: string;
  /** `tokenizer_config.json`; "{}" where the folder has none. */
  readonly config: string;
  /** `chat_template.jinja`, which wins over a `chat_template` of the config. */
  readonly chatTemplate?: string;
}

/** Largest file that is parsed: 64 MiB. The largest vocabularies in use need 35. */
const MAX_FILE_CHARACTERS = 64 * 1024 * 1024;

/** A JSON object, of which nothing is known. */
export type JsonObject = Readonly<Record<string, unknown>>;

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Parses one of the files. Throws `TOKENIZER_FILE`, naming it, where it holds no JSON object. */
export function parseFile(name: string, text: string): JsonObject {
  if (text.length > MAX_FILE_CHARACTERS) {
    throw new OarlockError(
      "TOKENIZER_FILE",
      `${name} has ${text.length} characters; at most ${MAX_FILE_CHARACTERS} are read`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new OarlockError("TOKENIZER_FILE", `${name} is no JSON`, { cause });
  }
  if (isObject(value)) return value;
  throw new OarlockError("TOKENIZER_FILE", `${name} holds no JSON object`);
}
