/** What a user may write for a model: a folder, a llama2.c checkpoint, a GGUF file, a name on the hub. */
import { existsSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { OarlockError } from "@oarlock/errors";

export type ModelSource =
  | { readonly kind: "folder"; readonly path: string }
  | { readonly kind: "llama2c"; readonly path: string }
  | { readonly kind: "gguf"; readonly path: string }
  | ({ readonly kind: "hub" } & HubReference);

/** A repository on the hub at a revision. */
export interface HubReference {
  readonly type: "model" | "dataset";
  /** "org/name". */
  readonly name: string;
  /** A branch, tag or commit. Default "main". */
  readonly revision: string;
}

const ACCEPTED =
  "a folder in Hugging Face layout, hf://org/name[@revision], a .gguf file, a llama2.c .bin file";
/** As the hub has them: no part is "." or "..", so that a name is a safe folder name. */
const NAME = /^(?!\.\.?\/)[\w.-]{1,96}\/(?!\.\.?$)[\w.-]{1,96}$/;
const REVISION = /^(?!.*\.\.)[\w][\w./-]{0,200}$/;

/** `baseDir` is what relative paths are relative to. Throws `MODEL_SOURCE` with what is accepted. */
export function resolveModelSource(written: string, baseDir = "."): ModelSource {
  const refuse = (why: string): never => {
    throw new OarlockError("MODEL_SOURCE", `model ${JSON.stringify(written)} ${why}; accepted: ${ACCEPTED}`);
  };
  if (written.startsWith("hf://")) {
    const reference = parseHubReference(written);
    return reference.type === "model" ? { kind: "hub", ...reference } : refuse("is a data set");
  }
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(written)) refuse("is an address of another kind");
  const path = resolve(baseDir, written);
  if (!existsSync(path)) return refuse(`does not exist (${path})`);
  if (statSync(path).isDirectory()) return { kind: "folder", path };
  if (path.endsWith(".gguf")) return { kind: "gguf", path };
  if (path.endsWith(".bin")) return { kind: "llama2c", path };
  return refuse("is a file of another kind");
}

/** Reads `hf://org/name[@revision]` and `hf://datasets/org/name[@revision]`. Throws `MODEL_SOURCE`. */
export function parseHubReference(written: string): HubReference {
  const [, datasets, rest = ""] = /^hf:\/\/(datasets\/)?(.*)$/s.exec(written) ?? [];
  const at = rest.indexOf("@");
  const name = at < 0 ? rest : rest.slice(0, at);
  const revision = at < 0 ? "main" : rest.slice(at + 1);
  if (!NAME.test(name) || !REVISION.test(revision)) {
    throw new OarlockError(
      "MODEL_SOURCE",
      `${JSON.stringify(written)} is no repository; accepted: hf://[datasets/]org/name[@revision]`,
    );
  }
  return { type: datasets === undefined ? "model" : "dataset", name, revision };
}
