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
 * `NATS_CERT`, `NATS_KEY` (files) and `NATS_REPLICAS`. A user, password or token
 * in `NATS_URL` itself, percent-encoded, counts as given so. Undefined without it.
 */
export function readNatsOptions(environment: Environment): NatsOptions | undefined {
  const settings = createSettingsReader(environment);
  const url = settings.text("NATS_URL");
  if (url === undefined) return undefined;
  const { servers, known } = takenApart(url);
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
    ...identity(given, known),
    ...(Object.keys(tls).length === 0 ? {} : { tls }),
    replicas: settings.integer("NATS_REPLICAS", { min: 1, max: MAX_REPLICAS, fallback: 1 }),
  };
}

type Identity = Pick<NatsOptions, "credentials" | "user" | "password" | "token">;

/**
 * Addresses alone, and who their URLs say that we are, as a Secret holds both: the client would not read it there, and every line
 * that names the server would show it. No refusal shows any of it: what cannot be read may be half a password.
 */
function takenApart(url: string): { readonly servers: string; readonly known: Identity | undefined } {
  const parts = url.split(",").map((part) => part.trim());
  // Else part of a password with a comma would be an address.
  if (parts.length > 1 && url.includes("@") && !parts.every((part) => SCHEME.test(part)))
    throw unreadable("does not begin every address with nats:// or tls://");
  const addresses = parts.map((part) => /^(\w+:\/\/)?(?:(.*)@)?(.*)$/.exec(part));
  const bare = addresses.map((address) => `${address?.[1] ?? ""}${address?.[3] ?? ""}`);
  if (!bare.every((address) => URL.canParse(SCHEME.test(address) ? address : `nats://${address}`)))
    throw unreadable("has an address that is not nats://host:port");
  const infos = new Set(addresses.flatMap((address) => address?.[2] ?? []));
  if (infos.size > 1)
    throw new OarlockError(
      "SETTING_INVALID",
      "the addresses of NATS_URL have different users or tokens; accepted: one, in any of them",
    );
  if (infos.size === 0) return { servers: url, known: undefined };
  const [info = ""] = infos;
  const [user = "", ...password] = info.split(":");
  const known: Identity =
    password.length === 0
      ? { token: decoded(user) }
      : { user: decoded(user), password: decoded(password.join(":")) };
  return { servers: bare.join(","), known };
}

const SCHEME = /^\w+:\/\//;

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw unreadable("has a % that is no escape of UTF-8");
  }
}

function unreadable(what: string): OarlockError {
  return new OarlockError(
    "SETTING_INVALID",
    `NATS_URL ${what}; in a user, password or token a comma is written %2C, and a % is %25`,
  );
}

function identity(given: (name: string) => string | undefined, known: Identity | undefined): Identity {
  const names = ["NATS_CREDS", "NATS_USER", "NATS_TOKEN"].filter((name) => given(name) !== undefined);
  const said = known === undefined ? names : ["what NATS_URL says", ...names];
  if (said.length > 1) {
    throw new OarlockError("SETTING_INVALID", `${said.join(" and ")} exclude each other; give one of them`);
  }
  if (known !== undefined) return known;
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
