/** Which commit a branch or tag of a repository is at, so that a model's files are all of one commit. */
import { datasetInfo, modelInfo } from "@huggingface/hub";
import { OarlockError } from "@oarlock/errors";
import type { HubReference } from "../source.ts";
import type { HubSettings } from "./config.ts";

const COMMIT = /^[0-9a-f]{40}$/;

/** A full commit hash is itself. Throws `HUB_REQUEST` where the hub states none. */
export async function resolveCommit(
  reference: HubReference,
  options: HubSettings & { readonly fetch: typeof globalThis.fetch },
): Promise<string> {
  if (COMMIT.test(reference.revision)) return reference.revision;
  const { token, endpoint, fetch } = options;
  const request = {
    name: reference.name,
    revision: reference.revision,
    hubUrl: endpoint,
    fetch,
    ...(token === undefined ? {} : { accessToken: token }),
  };
  const { sha } =
    reference.type === "model"
      ? await modelInfo({ ...request, additionalFields: ["sha"] })
      : await datasetInfo({ ...request, additionalFields: ["sha"] });
  if (typeof sha === "string" && COMMIT.test(sha)) return sha;
  throw new OarlockError("HUB_REQUEST", `${reference.name}@${reference.revision}: the hub names no commit`);
}
