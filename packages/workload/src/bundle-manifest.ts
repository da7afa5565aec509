/**
 * A bundle: files that a run reads, by content. Its manifest is canonical JSON with each file's path, size and SHA-256; the
 * SHA-256 of the manifest is the bundle's name, so that a reference says exactly what is read. Pure.
 */
import { OarlockError } from "@oarlock/errors";
import { isConfined } from "@oarlock/runfile";

export interface BundleFile {
  /** Relative, with `/`, inside of the bundle. */
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

export interface BundleManifest {
  readonly files: readonly BundleFile[];
}

export const MAX_MANIFEST_BYTES: number = 4 * 1024 * 1024;
export const MAX_FILES = 10_000;
const DIGEST = /^[0-9a-f]{64}$/;

/** Reads a manifest; nothing of it is believed before it is checked. @throws OarlockError `BUNDLE_INVALID`. */
export function parseManifest(text: string): BundleManifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalid("is no JSON", cause);
  }
  const files = typeof value === "object" && value !== null && "files" in value ? value.files : undefined;
  if (!Array.isArray(files) || files.length === 0 || files.length > MAX_FILES)
    throw invalid(`has no list of 1 to ${MAX_FILES} files`);
  const seen = new Set<string>();
  for (const file of files) {
    if (!isBundleFile(file)) throw invalid(`has the file ${JSON.stringify(file)?.slice(0, 200)}`);
    if (seen.has(file.path)) throw invalid(`names ${file.path} twice`);
    seen.add(file.path);
  }
  return { files: files as readonly BundleFile[] };
}

function isBundleFile(value: unknown): value is BundleFile {
  if (typeof value !== "object" || value === null) return false;
  if (!("path" in value) || !("bytes" in value) || !("sha256" in value)) return false;
  const { path, bytes, sha256 } = value;
  if (typeof path !== "string" || path.length > 1024 || !isConfined(path)) return false;
  return (
    Number.isSafeInteger(bytes) && Number(bytes) >= 0 && typeof sha256 === "string" && DIGEST.test(sha256)
  );
}

function invalid(why: string, cause?: unknown): OarlockError {
  return new OarlockError("BUNDLE_INVALID", `the bundle's manifest ${why}`, { cause });
}
