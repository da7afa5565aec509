/** Models as files: Hugging Face folders, read and written. */
export { loadModelFolder, readTokenizerFiles } from "./model-folder.ts";
export { weightsDigest } from "./model.ts";
export type { LoadedModel, LoadOptions, LoadProgress } from "./model.ts";
export { saveModel } from "./save-model.ts";
export type { ModelToSave, SaveOptions, StoredDType } from "./save-model.ts";
export { readLlamaConfig, writeLlamaConfig } from "./llama-config.ts";
export type { SpecialTokens } from "./llama-config.ts";
export type { JsonObject } from "./json.ts";
