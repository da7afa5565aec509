/**
 * How the command line calls the services of a run: over TLS, as whom, with which token. What its options do not say is as the run
 * was started. Secrets come from files and the environment, never from an argument, which others on the machine can read.
 */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { Option } from "commander";
import { isOarlockError, OarlockError } from "@oarlock/errors";
import type { RpcChannelOptions } from "@oarlock/rpc";
import { readCliEnvironment, type TlsFiles } from "./config.ts";

/** As commander names the options below. */
export interface AccessOptions {
  readonly tlsCa?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsServerName?: string;
  readonly tokenFile?: string;
}

export const ACCESS_OPTIONS: readonly Option[] = [
  new Option("--tls-ca <file>", "PEM file of the authority that vouches for the services"),
  new Option("--tls-cert <file>", "PEM file of the certificate to show them"),
  new Option("--tls-key <file>", "PEM file of its key"),
  new Option("--tls-server-name <name>", "name in their certificates, where it is not the address"),
  new Option("--token-file <file>", "file with the bearer token (default: OARLOCK_TOKEN)"),
];

/** The options of a channel to services that were started with these files; without any, in plain text. */
export type ServiceAccess = (startedWith: TlsFiles) => RpcChannelOptions;

/** Throws `ACCESS_FILE_INVALID`, naming the option or what the run was started with. */
export function serviceAccess(options: AccessOptions): ServiceAccess {
  const { tlsCa, tlsCert, tlsKey, tlsServerName: serverName, tokenFile } = options;
  const token = tokenFile === undefined ? readCliEnvironment().token : read("--token-file", tokenFile).trim();
  return (startedWith) => {
    // A certificate belongs to its key: both are of one place.
    const pair = tlsCert === undefined && tlsKey === undefined ? startedWith : { cert: tlsCert, key: tlsKey };
    const tls = pems({ ca: tlsCa ?? startedWith.ca, cert: pair.cert, key: pair.key });
    const isTls = Object.keys(tls).length > 0 || serverName !== undefined;
    return {
      ...(isTls ? { tls: { ...tls, ...(serverName === undefined ? {} : { serverName }) } } : {}),
      ...(token === undefined ? {} : { token }),
    };
  };
}

/** What a failed call has to do with who called, if anything. */
export function accessAdvice(reason: unknown, { tls, token }: RpcChannelOptions): string | undefined {
  if (isOarlockError(reason, "RPC_UNAUTHENTICATED"))
    return `the services want ${token === undefined ? "a" : "another"} bearer token: OARLOCK_TOKEN or --token-file`;
  if (isOarlockError(reason, "RPC_UNAVAILABLE"))
    return tls === undefined
      ? "where the services speak TLS, give --tls-ca, and --tls-cert with --tls-key where they want a certificate"
      : "they may not take this certificate, or have one of another authority: --tls-ca, --tls-cert with --tls-key";
  return undefined;
}

const OPTION_OF = { ca: "--tls-ca", cert: "--tls-cert", key: "--tls-key" } as const;

function pems(files: TlsFiles): { ca?: string; cert?: string; key?: string } {
  if ((files.cert === undefined) !== (files.key === undefined)) {
    throw new OarlockError("ACCESS_FILE_INVALID", "--tls-cert and --tls-key are given together");
  }
  const [ca, cert, key] = (["ca", "cert", "key"] as const).map((part) => {
    const path = files[part];
    return path === undefined ? undefined : read(OPTION_OF[part], path);
  });
  if (ca !== undefined) usable("--tls-ca", files.ca, () => new X509Certificate(ca));
  if (cert !== undefined && key !== undefined)
    usable("--tls-key", files.key, () => createSecureContext({ cert, key }));
  return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
}

const invalid = (option: string, path: string | undefined, accepted: string): OarlockError =>
  new OarlockError(
    "ACCESS_FILE_INVALID",
    `${option} ${JSON.stringify(path)} cannot be used; accepted: ${accepted}`,
  );

/** The cause is left out: it may quote the file. */
function usable(option: string, path: string | undefined, use: () => unknown): void {
  try {
    use();
  } catch {
    throw invalid(
      option,
      path,
      `a PEM file ${option === "--tls-ca" ? "of certificates" : "with the key of the certificate"}`,
    );
  }
}

function read(option: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    throw invalid(option, path, "a file that can be read");
  }
}
