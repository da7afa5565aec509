/** Loads a model from wherever it is. */
import { OarlockError } from "@oarlock/errors";
import { parameterLayout } from "@oarlock/nn";
import type { HubOptions } from "./hub/repository.ts";
import { downloadSnapshot } from "./hub/snapshot.ts";
import { loadGguf } from "./gguf/load.ts";
import { loadLlama2c } from "./llama2c.ts";
import { loadTokenizer } from "./load-tokenizer.ts";
import { loadModelFolder } from "./model-folder.ts";
import type { LoadedModel, LoadOptions } from "./model.ts";
import { type ModelSource, resolveModelSource } from "./source.ts";

export interface LoadModelOptions extends LoadOptions {
  /** What relative paths are relative to. Default: the working directory. */
  readonly baseDir?: string;
  /** Where the hub is and what it is told. Default: what the environment says. */
  readonly hub?: HubOptions;
}

type Loader<K extends ModelSource["kind"]> = (
  source: Extract<ModelSource, { kind: K }>,
  options: LoadModelOptions,
) => Promise<LoadedModel>;

const loaders: { readonly [K in ModelSource["kind"]]: Loader<K> } = {
  folder: ({ path }, options) => loadModelFolder(path, options),
  llama2c: ({ path }, options) => loadLlama2c(path, options),
  gguf: ({ path }, options) => loadGguf(path, options),
  hub: async (reference, options) => {
    const folder = await downloadSnapshot(reference, { ...options.hub, ...options, wanted: isModelFile });
    return loadModelFolder(folder, options);
  },
};

/**
 * `source` as in `resolveModelSource`. Reads, casts and hashes all weights: compute (P1), so services call it in a worker
 * thread, with `shared: true` where others read the weights too.
 */
export async function loadModel(source: string, options: LoadModelOptions = {}): Promise<LoadedModel> {
  const resolved = resolveModelSource(source, options.baseDir);
  const load = loaders[resolved.kind] as Loader<ModelSource["kind"]>; // the table pairs each kind with its loader
  const loaded = await load(resolved as never, options);
  refuseNotFinite(source, loaded);
  if (options.tokenizer === undefined) return loaded;
  return { ...loaded, tokenizer: await loadTokenizer(options.tokenizer, loaded.config.vocabSize) };
}

/** Training on a NaN gives NaN everywhere, a step later and with no word of where it came from. */
function refuseNotFinite(source: string, { config, weights }: LoadedModel): void {
  for (let i = 0; i < weights.length; i++) {
    const value = weights[i] ?? 0;
    if (Number.isFinite(value)) continue;
    const parameter = parameterLayout(config).parameters.find(
      ({ offset, size }) => i >= offset && i < offset + size,
    );
    throw new OarlockError(
      "MODEL_NOT_FINITE",
      `${source}: ${parameter?.name} holds ${value} at element ${i - (parameter?.offset ?? 0)}; accepted: finite weights`,
    );
  }
}

const WANTED =
  /^(config\.json|generation_config\.json|tokenizer\.json|tokenizer_config\.json|chat_template\.jinja|model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json)$/;

/** Whether a model repository's file is part of the model in the layout that is read here. */
export function isModelFile(path: string): boolean {
  return WANTED.test(path);
}
