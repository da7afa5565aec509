/** What the environment says of the hub. The only reader of `process.env` in this package. */
import { OarlockError } from "@oarlock/errors";
import { homedir } from "node:os";
import { join } from "node:path";

export interface HubSettings {
  /** `HF_ENDPOINT`. */
  readonly endpoint: string;
  /** `HF_TOKEN`. Goes into requests to the endpoint, and nowhere else. */
  readonly token?: string;
  /** `HF_HUB_OFFLINE`: nothing is asked of the network. */
  readonly offline: boolean;
  /** `OARLOCK_CACHE`, else `$XDG_CACHE_HOME/oarlock`, else `~/.cache/oarlock`; models and data lie under `hub` there. */
  readonly cacheDir: string;
}

/** Reads the settings of the hub's own tools. */
export function hubSettings(environment: NodeJS.ProcessEnv = process.env): HubSettings {
  const token = environment["HF_TOKEN"]?.trim();
  const offline = (environment["HF_HUB_OFFLINE"] ?? "").toLowerCase();
  const cache = environment["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  return {
    endpoint: endpointOf(environment["HF_ENDPOINT"]),
    ...(token === undefined || token === "" ? {} : { token }),
    offline: ["1", "true", "yes", "on"].includes(offline),
    cacheDir: join(environment["OARLOCK_CACHE"] ?? join(cache, "oarlock"), "hub"),
  };
}

const DEFAULT_ENDPOINT = "https://huggingface.co";

/** Throws `SETTING_INVALID`, without what was given: it may hold a password. */
function endpointOf(given = DEFAULT_ENDPOINT): string {
  const address = URL.canParse(given) ? new URL(given) : undefined;
  if (
    address !== undefined &&
    /^https?:$/.test(address.protocol) &&
    address.username + address.password === ""
  )
    return given.replace(/\/+$/, "");
  throw new OarlockError(
    "SETTING_INVALID",
    "HF_ENDPOINT: accepted: an address as https://hub.example.com, without user and password (a token: HF_TOKEN)",
  );
}
