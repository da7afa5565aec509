/** How to reach a NATS server, from the environment; the names are those of the `nats` command line where it has one. */
import { readFileSync } from "node:fs";
import { OarlockError } from "@oarlock/errors";
import { createSettingsReader } from "@oarlock/runtime";
import type { Environment } from "@oarlock/runtime";

/** Files of one side's TLS identity, PEM. */
export interface NatsTlsFiles {
  /** Authorities that the server's certificate must descend from. Default: the system's. */
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

/** Which server, and who we are to it. At most one of credentials, user and token. */
export interface NatsOptions {
  /** `nats://host:port` or `tls://host:port`, several separated by commas. */
  readonly servers: string;
  /** Content of a credentials file: a JWT and its seed. */
  readonly credentials?: Uint8Array;
  readonly user?: string;
  readonly password?: string;
  readonly token?: string;
  readonly tls?: NatsTlsFiles;
  /** Copies of every stream in a cluster. Default 1. */
  readonly replicas?: number;
}

const MAX_REPLICAS = 5;

/**
 * Reads `NATS_URL` and, where it is given, `NATS_CREDS` (a file), `NATS_USER` with `NATS_PASSWORD`, `NATS_TOKEN`, `NATS_CA`,
 * `NATS_CERT`, `NATS_KEY` (files) and `NATS_REPLICAS`. Undefined without `NATS_URL`.
 */
export function readNatsOptions(environment: Environment): NatsOptions | undefined {
  const settings = createSettingsReader(environment);
  const servers = settings.text("NATS_URL");
  if (servers === undefined) return undefined;
  // The client would not use them, and every line that names the server would show them.
  if (servers.includes("@")) {
    throw new OarlockError(
      "SETTING_INVALID",
      "NATS_URL has a user, password or token in it; accepted: addresses alone, and NATS_USER with NATS_PASSWORD, or NATS_TOKEN",
    );
  }
  const given = (name: string): string | undefined => settings.text(name);
  const caFile = given("NATS_CA");
  const [certFile, keyFile] = [given("NATS_CERT"), given("NATS_KEY")];
  if ((certFile === undefined) !== (keyFile === undefined)) {
    throw new OarlockError("SETTING_INVALID", "NATS_CERT and NATS_KEY are given together or not at all");
  }
  const tls = {
    ...(caFile === undefined ? {} : { caFile }),
    ...(certFile === undefined || keyFile === undefined ? {} : { certFile, keyFile }),
  };
  return {
    servers,
    ...identity(given),
    ...(Object.keys(tls).length === 0 ? {} : { tls }),
    replicas: settings.integer("NATS_REPLICAS", { min: 1, max: MAX_REPLICAS, fallback: 1 }),
  };
}

function identity(
  given: (name: string) => string | undefined,
): Pick<NatsOptions, "credentials" | "user" | "password" | "token"> {
  const names = ["NATS_CREDS", "NATS_USER", "NATS_TOKEN"].filter((name) => given(name) !== undefined);
  if (names.length > 1) {
    throw new OarlockError("SETTING_INVALID", `${names.join(" and ")} exclude each other; give one of them`);
  }
  const [credentials, user, token] = [given("NATS_CREDS"), given("NATS_USER"), given("NATS_TOKEN")];
  if (credentials !== undefined) return { credentials: readCredentials(credentials) };
  if (user !== undefined) return { user, password: given("NATS_PASSWORD") ?? "" };
  return token === undefined ? {} : { token };
}

function readCredentials(path: string): Uint8Array {
  const refuse = (what: string, cause?: unknown): OarlockError =>
    new OarlockError("SETTING_INVALID", `NATS_CREDS=${JSON.stringify(path)} ${what}`, { cause });
  let content: Buffer;
  try {
    content = readFileSync(path);
  } catch (cause) {
    throw refuse("cannot be read; accepted: a credentials file", cause);
  }
  // What the client looks for; it would try again and again with what it cannot read.
  const blocks = content.toString().match(/-{3,}BEGIN [^\n]*-{3,}\n.+\n-{3,}END [^\n]*-{3,}\n/g) ?? [];
  if (blocks.length < 2) throw refuse("holds no JWT and seed; accepted: a credentials file");
  return content;
}
