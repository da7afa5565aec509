/**
 * Writes each workspace's `references` in tsconfig.json from its `@oarlock/*` dependencies, so the build order
 * is stated once (package.json). `--check` fails instead of writing.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { relative } from "node:path";

interface Manifest {
  readonly name: string;
  readonly dependencies?: Record<string, string>;
}

const readJson = <T>(file: string): T => JSON.parse(readFileSync(file, "utf8")) as T;

const folders = ["packages", "services", "apps"].flatMap((parent) =>
  readdirSync(parent).map((name) => `${parent}/${name}`),
);
const workspaces = ["proto", ...folders].filter((folder) => existsSync(`${folder}/package.json`));
const folderOf = new Map(
  workspaces.map((folder) => [readJson<Manifest>(`${folder}/package.json`).name, folder]),
);
const check = process.argv.includes("--check");
let drifted = 0;

for (const folder of workspaces) {
  const dependencies = Object.keys(readJson<Manifest>(`${folder}/package.json`).dependencies ?? {});
  const references = dependencies
    .map((name) => folderOf.get(name))
    .filter((target) => target !== undefined)
    .map((target) => ({ path: relative(folder, target) }));
  const file = `${folder}/tsconfig.json`;
  const before = readFileSync(file, "utf8");
  const after = `${JSON.stringify({ ...readJson<object>(file), references }, null, 2)}\n`;
  if (JSON.stringify(JSON.parse(before)) === JSON.stringify(JSON.parse(after))) continue;
  drifted++;
  if (!check) writeFileSync(file, after);
  else console.error(`${file}: references differ from package.json; run npm run references`);
}
if (check && drifted > 0) process.exitCode = 1;
