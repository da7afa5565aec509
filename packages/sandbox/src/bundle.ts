/**
 * A user's reward file as one JavaScript module: TypeScript, its siblings and npm packages bundled by esbuild, so that any
 * Node runs it and its digest says what code scored.
 */
import { readFile, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { sha256Hex } from "@oarlock/runtime";
import { build, type BuildFailure } from "esbuild";

export interface Bundle {
  readonly code: string;
  /** SHA-256 (hex) of the code. */
  readonly digest: string;
}

/** CommonJS packages inside of the bundle ask for Node's modules by `require`, and where they lie: where the bundle does. */
const commonJsBanner = [
  'import { createRequire as createRequire_ } from "node:module"; import { dirname as dirname_ } from "node:path";',
  'import { fileURLToPath as fileURLToPath_ } from "node:url"; const require = createRequire_(import.meta.url);',
  "const __filename = fileURLToPath_(import.meta.url); const __dirname = dirname_(__filename);",
].join(" ");

/** Bundles the file. Throws `REWARD_BUNDLE` with the compiler's place and message. */
export async function bundleReward(file: string): Promise<Bundle> {
  if ((await stat(file).catch(() => undefined))?.isFile() !== true)
    throw new OarlockError(
      "REWARD_BUNDLE",
      `${file}: no such file; accepted: a TypeScript or JavaScript file`,
    );
  try {
    const result = await build({
      entryPoints: [file],
      absWorkingDir: dirname(file), // error places are relative to this
      bundle: true,
      write: false,
      format: "esm",
      platform: "node",
      target: "node20",
      logLevel: "silent",
      // Unminified, comments and the names of CommonJS modules hold paths, which say where files lie, not what they do.
      minify: true,
      keepNames: true,
      legalComments: "none",
      banner: { js: commonJsBanner },
      // The typed helper resolves also where the user's folder has no node_modules.
      alias: { "@oarlock/rewards": createRequire(import.meta.url).resolve("@oarlock/rewards") },
    });
    const code = result.outputFiles[0]?.text ?? "";
    return { code, digest: sha256Hex(Buffer.from(code)) };
  } catch (reason) {
    throw new OarlockError("REWARD_BUNDLE", `${file} does not compile: ${describe(reason)}`, {
      cause: reason,
    });
  }
}

/** Largest bundle that is read. */
const MAX_BUNDLE_BYTES = 64 * 1024 * 1024;

/** A file that `bundleReward` made earlier. Throws `REWARD_BUNDLE`. */
export async function readBundle(file: string): Promise<Bundle> {
  const bytes = (await stat(file).catch(() => undefined))?.size;
  if (bytes === undefined || bytes > MAX_BUNDLE_BYTES)
    throw new OarlockError(
      "REWARD_BUNDLE",
      `${file} ${bytes === undefined ? "does not exist" : `has ${bytes} bytes; at most ${MAX_BUNDLE_BYTES} are read`}`,
    );
  const code = await readFile(file);
  return { code: code.toString("utf8"), digest: sha256Hex(code) };
}

function describe(reason: unknown): string {
  if (!(reason instanceof Error)) return String(reason);
  const { errors } = reason as Partial<BuildFailure>; // esbuild's rejections carry this list
  const [first] = errors ?? [];
  if (!first) return reason.message;
  const place = first.location
    ? `${first.location.file}:${first.location.line}:${first.location.column}: `
    : "";
  return place + first.text;
}
