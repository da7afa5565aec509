/** Writing a model where a user said: a folder in Hugging Face layout, new or empty, in the precision asked for. */
import { readdir, stat } from "node:fs/promises";
import { Option } from "commander";
import { OarlockError, shellWord } from "@oarlock/errors";
import { type ModelToSave, saveModel, type StoredDType } from "@oarlock/models";
import { parameterCount } from "@oarlock/nn";
import { formatCount } from "@oarlock/runfile";
import { requireMakeable } from "./new-folder.ts";
import type { Terminal } from "./terminal.ts";

/** Precisions by their names on the command line. */
const STORED: { readonly [N in DTypeName]: StoredDType } = {
  f32: "float32",
  bf16: "bfloat16",
  f16: "float16",
};

export type DTypeName = "f32" | "bf16" | "f16";

/** `--dtype`. */
export function dtypeOption(): Option {
  return new Option("--dtype <type>", "precision of the stored weights; bf16 and f16 round")
    .choices(Object.keys(STORED))
    .default("f32");
}

/** Throws `TARGET_TAKEN` where `folder` already holds something: nobody's model is overwritten. */
export async function requireFree(folder: string): Promise<void> {
  const info = await stat(folder).catch(() => undefined);
  if (info === undefined || (info.isDirectory() && (await readdir(folder)).length === 0)) {
    return requireMakeable(folder, "the folder");
  }
  const what = info.isDirectory() ? "is not empty" : "is a file";
  throw new OarlockError("TARGET_TAKEN", `${folder} ${what}; accepted: a new or an empty folder`);
}

export interface WriteModelOptions {
  readonly dtype: DTypeName;
  /** SHA-256 of the weights before any rounding. */
  readonly digest: string;
  readonly signal: AbortSignal;
  readonly terminal: Terminal;
}

/** Writes it and says what was written. */
export async function writeModel(
  folder: string,
  model: ModelToSave,
  { dtype, digest, signal, terminal }: WriteModelOptions,
): Promise<void> {
  terminal.live(`writing ${folder}`);
  const stored = STORED[dtype];
  await saveModel(folder, model, { dtype: stored, signal });
  const rounded = stored === "float32" ? "" : ` before rounding to ${stored}`;
  terminal.print(
    [
      `${folder}: ${formatCount(parameterCount(model.config))} parameters in ${stored}`,
      `weights  ${digest}${rounded}`,
      `try      oarlock chat ${shellWord(folder)}`,
    ].join("\n"),
  );
}
