/** Whether a downloaded file is what the hub lists: by SHA-256 where it is a large file, by git's blob hash otherwise. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { ListFileEntry } from "@huggingface/hub";
import { OarlockError } from "@oarlock/errors";

/** A digest that the hub states. */
export interface ExpectedDigest {
  readonly algorithm: "sha256" | "git-sha1";
  readonly hex: string;
}

const HEX = { sha256: /^[0-9a-f]{64}$/, "git-sha1": /^[0-9a-f]{40}$/ };

/** `undefined` where the listing states none. Throws `HUB_REQUEST` where it states something else: a part of it is in a file's name. */
export function expectedDigest(
  entry: Pick<ListFileEntry, "path" | "oid" | "lfs">,
): ExpectedDigest | undefined {
  const { lfs, oid, path } = entry;
  if (lfs === undefined && oid === undefined) return undefined;
  const algorithm = lfs === undefined ? "git-sha1" : "sha256";
  const hex = String(lfs?.oid ?? oid).replace(/^sha256:/, "");
  if (HEX[algorithm].test(hex)) return { algorithm, hex };
  throw new OarlockError(
    "HUB_REQUEST",
    `the hub lists ${path} with ${JSON.stringify(hex.slice(0, 80))}, which is no digest`,
  );
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
