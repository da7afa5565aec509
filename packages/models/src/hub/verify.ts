/** Whether a downloaded file is what the hub lists: by SHA-256 where it is a large file, by git's blob hash otherwise. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { ListFileEntry } from "@huggingface/hub";

/** A digest that the hub states. */
export interface ExpectedDigest {
  readonly algorithm: "sha256" | "git-sha1";
  readonly hex: string;
}

/** `undefined` where the listing states none. */
export function expectedDigest(entry: Pick<ListFileEntry, "oid" | "lfs">): ExpectedDigest | undefined {
  if (entry.lfs !== undefined) return { algorithm: "sha256", hex: entry.lfs.oid.replace(/^sha256:/, "") };
  return entry.oid === undefined ? undefined : { algorithm: "git-sha1", hex: entry.oid };
}

/** The digest of a file, in hexadecimal. */
export async function fileDigest(
  path: string,
  algorithm: ExpectedDigest["algorithm"],
  signal?: AbortSignal,
): Promise<string> {
  const hash = createHash(algorithm === "sha256" ? "sha256" : "sha1");
  if (algorithm === "git-sha1") hash.update(`blob ${(await stat(path)).size}\0`);
  for await (const chunk of createReadStream(path, { signal })) hash.update(chunk as Buffer); // no encoding set: bytes
  return hash.digest("hex");
}
