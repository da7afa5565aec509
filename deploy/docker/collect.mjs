/**
 * Collects what the images run: of our own packages what was compiled, and the dependencies that they reach, for one
 * processor. Called by the Dockerfile after the build. Leaves out what only developers read, and libraries of other platforms.
 */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, symlinkSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { parseArgs } from "node:util";

/** Docker's names of processors → Node's: those that ONNX Runtime ships a Linux library for. */
const PROCESSORS = { amd64: "x64", arm64: "arm64" };
const PROGRAMS = ["services/actor", "services/reward", "services/learner", "services/controller", "apps/cli"];
const OWN_PARTS = ["package.json", "bin", "dist"];
const FOR_DEVELOPERS = /\.(map|d\.ts|d\.mts|d\.cts|tsbuildinfo)$/;
/** Where packages keep native libraries of several platforms: a folder per system, and per processor in it or in its name. */
const NATIVE = [
  /onnxruntime-node\/bin\/[^/]+\/([^/]+)(?:\/([^/]+))?/,
  /\/prebuilds\/([a-z0-9]+)-([a-z0-9]+)/,
];

const { arch = "", out = "" } = parseArgs({
  options: { arch: { type: "string" }, out: { type: "string" } },
}).values;
const cpu = PROCESSORS[arch];
if (cpu === undefined) {
  const known = Object.keys(PROCESSORS).join(" and ");
  console.error(
    `no images for processor ${JSON.stringify(arch)}: ONNX Runtime has Linux libraries for ${known}`,
  );
  process.exit(1);
}

// From what the build installed, by the same lock file: only what differs is removed and fetched.
const platform = ["--os=linux", "--libc=glibc", `--cpu=${cpu}`];
const flags = ["--no-save", "--omit=dev", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"];
execFileSync("npm", ["install", ...flags, ...platform], { stdio: "inherit" });

const reached = new Set();
for (const folder of PROGRAMS) reach(folder);
for (const folder of reached) copy(folder);
mkdirSync(join(out, "bin"));
for (const folder of PROGRAMS) {
  for (const [name, file] of Object.entries(manifest(folder).bin))
    symlinkSync(join("..", folder, file), join(out, "bin", name));
}
cpSync("LICENSE", join(out, "LICENSE"));

/** Adds a package and all that it depends on. */
function reach(folder) {
  if (reached.has(folder)) return;
  reached.add(folder);
  const { dependencies, optionalDependencies, peerDependencies } = manifest(folder);
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })) {
    const found = resolveFrom(folder, name);
    if (found !== undefined) reach(found);
    // Optional ones are for other platforms; npm has refused any other gap.
    else if (name in (dependencies ?? {}) && !(name in (optionalDependencies ?? {})))
      throw new Error(`${name}, which ${folder} needs, is not installed`);
  }
}

/** Node's look-up: the nearest node_modules upwards. A link to one of our own packages gives that package's folder. */
function resolveFrom(folder, name) {
  for (let at = folder; ; at = dirname(at)) {
    const candidate = join(at, "node_modules", name);
    if (existsSync(candidate)) return relative(realpathSync("."), realpathSync(candidate));
    if (at === ".") return undefined;
  }
}

function copy(folder) {
  const isOwn = !folder.includes("node_modules/");
  const parts = isOwn ? OWN_PARTS : readdirSync(folder).filter((name) => name !== "node_modules");
  for (const part of parts) {
    const from = join(folder, part);
    if (existsSync(from)) cpSync(from, join(out, folder, part), { recursive: true, filter: isKept });
  }
  if (!isOwn) return;
  const link = join(out, "node_modules", manifest(folder).name);
  mkdirSync(dirname(link), { recursive: true });
  symlinkSync(relative(dirname(link), join(out, folder)), link);
}

function isKept(path) {
  const native = NATIVE.map((pattern) => pattern.exec(path)).find((match) => match !== null);
  if (native === undefined) return !FOR_DEVELOPERS.test(path);
  const [, system, processor = cpu] = native;
  return system === "linux" && processor === cpu;
}

function manifest(folder) {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
}
