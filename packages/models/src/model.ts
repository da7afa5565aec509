/** A model in memory, whatever files it came from. */
import type { LlamaConfig } from "@oarlock/nn";
import type { TokenizerFiles } from "@oarlock/tokenizer";
import type { JsonObject } from "./json.ts";
import type { SpecialTokens } from "./llama-config.ts";

export interface LoadedModel {
  /** Always half-split: other orders are undone on loading. */
  readonly config: LlamaConfig;
  /** One flat array by `parameterLayout(config)`. */
  readonly weights: Float32Array;
  /** SHA-256 (hex) of the flat array's bytes, little-endian: the digest of this policy. */
  readonly digest: string;
  /** Absent where the model's folder has no `tokenizer.json`. */
  readonly tokenizer?: TokenizerFiles;
  readonly specials: SpecialTokens;
  /** `generation_config.json` as it is, `{}` where there is none. */
  readonly generation: JsonObject;
}

export interface LoadProgress {
  readonly what: "download" | "load";
  /** The file, or the tensor's file. */
  readonly file: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface LoadOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: LoadProgress) => void;
  /** Puts the weights into shared memory, so that worker threads read them without a copy. Default false. */
  readonly shared?: boolean;
  /** A tokenizer to take instead of the model's own, as in `loadTokenizer`. Default: the model's own, if it has one. */
  readonly tokenizer?: string;
}

/** A zeroed flat array. */
export function flatArray(length: number, shared = false): Float32Array {
  return shared ? new Float32Array(new SharedArrayBuffer(length * 4)) : new Float32Array(length);
}
