/**
 * Installs and builds the workspace where that is needed: what `npm test` and `npm run quickstart` do first.
 * Plain JavaScript on Node's own modules, because it runs before anything is installed.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const stamp = join(root, "node_modules", ".oarlock-installed");

/** Runs a command from the root with its output shown; ends this process with its exit code where it fails. */
export function run(command, args, options = {}) {
  const env = { ...process.env, ...options.env };
  const shell = process.platform === "win32";
  const { status, signal, error } = spawnSync(command, args, { cwd: root, stdio: "inherit", env, shell });
  if (error) throw error;
  const code = signal ? 130 : (status ?? 1);
  if (code !== 0 && !options.mayFail) process.exit(code);
  return code;
}

function refuseOldNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  console.error(`Oarlock needs Node.js 20.19 or newer; this is ${process.version}.`);
  process.exit(1);
}

/** Installs by the lock file unless the installed tree is from this very lock file, then builds what changed. */
export function installAndBuild() {
  refuseOldNode();
  const lock = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== lock) {
    console.log("Installing dependencies (npm ci) …");
    run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
    writeFileSync(stamp, lock);
  }
  console.log("Building …");
  run("npx", ["turbo", "run", "build", "--output-logs=errors-only"]);
}
