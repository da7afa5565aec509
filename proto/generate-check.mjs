/**
 * Fails when the committed code under src/gen is not what `npm run generate` makes of the .proto files, or when they do
 * not pass the linter. Works offline and leaves the tree as it was.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const here = import.meta.dirname;
const fresh = mkdtempSync(join(tmpdir(), "oarlock-generate-"));

const filesUnder = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();

try {
  execFileSync("buf", ["lint"], { cwd: here, stdio: "inherit" });
  execFileSync("buf", ["generate", "--output", fresh], { cwd: here, stdio: "inherit" });
  const made = join(fresh, "src/gen");
  const committed = join(here, "src/gen");
  const names = new Set([...filesUnder(made), ...filesUnder(committed)]);
  const read = (folder, name) => {
    try {
      return readFileSync(join(folder, name), "utf8");
    } catch {
      return undefined;
    }
  };
  const drifted = [...names].filter((name) => read(made, name) !== read(committed, name));
  for (const name of drifted)
    process.stderr.write(`proto/src/gen/${name}: differs from its .proto; npm run generate -w proto\n`);
  process.exitCode = drifted.length === 0 ? 0 : 1;
} finally {
  rmSync(fresh, { recursive: true, force: true });
}
