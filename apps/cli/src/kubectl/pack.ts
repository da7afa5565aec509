/** A run file with every file of this machine packed into bundles, so that nothing of it depends on the laptop. */
import { dirname, join, resolve } from "node:path";
import { stat } from "node:fs/promises";
import { isModelFile } from "@oarlock/models";
import { bundleReference, clusterSource, mapSources, type RunFile, sourcesOf } from "@oarlock/runfile";
import type { SourceUse } from "@oarlock/runfile";
import { bundleReward } from "@oarlock/sandbox";
import { type BundleEntry, entriesOf, type PackedBundle, packFiles } from "@oarlock/workload";
import type { RunFileSource } from "../run-file-source.ts";

export interface PackedRun {
  /** The same run, with `bundle://` in place of paths. */
  readonly run: RunFile;
  readonly bundles: readonly PackedBundle[];
}

/** Packs what the run file names; references that a pod can read stay as they are. */
export async function packRun({ file, baseDir }: RunFileSource): Promise<PackedRun> {
  const packed = new Map<string, { readonly bundle: PackedBundle; readonly reference: string }>();
  for (const use of sourcesOf(file.run.spec)) {
    if (!isLocal(use) || packed.has(keyOf(use))) continue;
    const entries = await entriesFor(use, baseDir);
    const bundle = await packFiles(entries);
    const root = use.kind === "function" ? CODE : (entries[0]?.path.split("/")[0] ?? "");
    packed.set(keyOf(use), { bundle, reference: bundleReference(bundle.digest, root) });
  }
  const spec = mapSources(file.run.spec, (use) => packed.get(keyOf(use))?.reference ?? use.reference);
  return { run: { ...file.run, spec }, bundles: [...packed.values()].map(({ bundle }) => bundle) };
}

/** Name of a reward function's code in its bundle. */
const CODE = "reward.mjs";

const keyOf = ({ kind, reference }: SourceUse): string => `${kind} ${reference}`;

function isLocal({ reference }: SourceUse): boolean {
  return !reference.startsWith("hf://") && clusterSource(reference) === undefined;
}

async function entriesFor({ kind, reference }: SourceUse, baseDir: string): Promise<readonly BundleEntry[]> {
  const path = resolve(baseDir, reference);
  switch (kind) {
    case "function": {
      const { code } = await bundleReward(path);
      return [{ path: CODE, content: { bytes: Buffer.from(code) } }];
    }
    case "tokenizer": {
      // A tokenizer's settings lie beside it.
      const beside = join(dirname(path), "tokenizer_config.json");
      const settings =
        (await stat(beside).catch(() => undefined)) === undefined ? [] : await entriesOf(beside);
      return [...(await entriesOf(path)), ...settings];
    }
    case "model":
    case "scorer":
      // A trainer's folder also has its moments and checkpoints, larger than the model, which nobody reads.
      return entriesOf(path, isModelFile);
    case "data":
    case "authority":
      return entriesOf(path);
  }
}
