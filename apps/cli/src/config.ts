/** The environment that the command line reads, once. */
import { resolve } from "node:path";

/** Paths of PEM files, as `OARLOCK_TLS_…` name them. */
export interface TlsFiles {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

export interface CliEnvironment {
  /** NO_COLOR, https://no-color.org. */
  readonly noColor: boolean;
  /** OARLOCK_MEMORY_BYTES: memory that plans may count on, instead of what the system reports. */
  readonly memoryBytes: number | undefined;
  /** OARLOCK_TLS_CA, OARLOCK_TLS_CERT, OARLOCK_TLS_KEY: those of the services, and of who calls them. */
  readonly tls: TlsFiles;
  /** OARLOCK_TOKEN: what calls to services carry. */
  readonly token: string | undefined;
}

export function readCliEnvironment(env: NodeJS.ProcessEnv = process.env): CliEnvironment {
  const memory = Number(env["OARLOCK_MEMORY_BYTES"] ?? Number.NaN);
  const token = env["OARLOCK_TOKEN"] ?? "";
  return {
    noColor: (env["NO_COLOR"] ?? "") !== "",
    memoryBytes: Number.isFinite(memory) && memory > 0 ? memory : undefined,
    tls: tlsFiles(env),
    token: token === "" ? undefined : token,
  };
}

/** The PEM files that an environment names, as absolute paths. */
export function tlsFiles(env: Readonly<Record<string, string | undefined>>): TlsFiles {
  const path = (name: string): string | undefined => {
    const value = env[name] ?? "";
    return value === "" ? undefined : resolve(value);
  };
  return { ca: path("OARLOCK_TLS_CA"), cert: path("OARLOCK_TLS_CERT"), key: path("OARLOCK_TLS_KEY") };
}
