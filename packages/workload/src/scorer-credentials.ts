/**
 * Tokens and certificates of scorers in other processes, read from where the plan names them: a variable of the environment, or
 * files. What they hold is in no plan, no log line, no message and no version.
 */
import { X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { createSecureContext } from "node:tls";
import { OarlockError } from "@oarlock/errors";
import { sourcePath } from "@oarlock/runfile";
import type { ResolvedService } from "@oarlock/runfile";
import type { Environment } from "@oarlock/runtime";
import type { LineCredentials } from "@oarlock/scoring";

export interface CredentialsOptions {
  /** The reward's, for messages. */
  readonly name: string;
  /** Folder that files are relative to. */
  readonly baseDir: string;
  readonly environment: Environment;
}

/** More is no certificate, key or token. */
const MAX_FILE_BYTES = 1024 * 1024;
/** What a header may carry of a token. */
const TOKEN = /^[\x21-\x7e]{1,8192}$/;

/** Reads everything once, so that what is missing is said before the run starts (X1). */
export function readCredentials(service: ResolvedService, options: CredentialsOptions): LineCredentials {
  const token = tokenOf(service, options);
  const { tls } = service;
  return { token, ...(tls === undefined ? {} : { tls: readTls(tls, options) }) };
}

function tokenOf(
  { tokenEnv, tokenFile }: ResolvedService,
  options: CredentialsOptions,
): LineCredentials["token"] {
  const checked = (token: string, where: string): string => {
    if (TOKEN.test(token)) return token;
    const what = token === "" ? "is empty" : "holds no token that a header can carry";
    throw new OarlockError(
      "SCORER_TOKEN_MISSING",
      `reward ${options.name}: ${where} ${what}; accepted: the scorer's bearer token in it`,
    );
  };
  if (tokenFile !== undefined)
    return renewed(() => checked(readFile("tokenFile", tokenFile, options).trim(), `the file ${tokenFile}`));
  if (tokenEnv === "") return () => "";
  const token = checked(options.environment[tokenEnv] ?? "", `the environment variable ${tokenEnv}`);
  return () => token;
}

/** Read at every call, since who renews a token writes the file anew; while it cannot be read, the token before it. */
function renewed(read: () => string): () => string {
  let token = read();
  return () => {
    try {
      token = read();
    } catch {
      // Being written: the scorer says whether the one before still does.
    }
    return token;
  };
}

function readTls(
  { caFile, certFile, keyFile, serverName }: NonNullable<ResolvedService["tls"]>,
  options: CredentialsOptions,
): NonNullable<LineCredentials["tls"]> {
  const ca = caFile === undefined ? undefined : readFile("tls.caFile", sourcePath(caFile), options);
  if (ca !== undefined) usable("tls.caFile", options, () => new X509Certificate(ca));
  const cert = certFile === undefined ? undefined : readFile("tls.certFile", certFile, options);
  const key = keyFile === undefined ? undefined : readFile("tls.keyFile", keyFile, options);
  if (cert !== undefined && key !== undefined)
    usable("tls.keyFile", options, () => createSecureContext({ cert, key }));
  return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }), ...(serverName && { serverName }) };
}

/** The cause is left out of the message: it may quote the file. */
function usable(field: string, { name }: CredentialsOptions, use: () => unknown): void {
  try {
    use();
  } catch {
    throw new OarlockError(
      "SCORER_TLS_INVALID",
      `reward ${name}: service.${field} cannot be used; accepted: a PEM file${field === "tls.keyFile" ? " with the key of tls.certFile" : " of certificates"}`,
    );
  }
}

function readFile(field: string, path: string, { name, baseDir }: CredentialsOptions): string {
  const whole = resolve(baseDir, path);
  try {
    const facts = statSync(whole);
    if (facts.isFile() && facts.size <= MAX_FILE_BYTES) return readFileSync(whole, "utf8");
  } catch {
    // Said below, as of a folder.
  }
  throw new OarlockError(
    "SCORER_FILE_INVALID",
    `reward ${name}: service.${field}: ${JSON.stringify(path)} cannot be read; accepted: a file of at most ${MAX_FILE_BYTES} bytes`,
  );
}
