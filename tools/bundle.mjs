/**
 * Programs and worker threads as few files: their modules, ours and those of others, bundled from the sources into
 * `dist/bundle`. Loading some 900 files took longer than all else that a short command does (docs/adr has the numbers).
 *
 * `node ../../tools/bundle.mjs ENTRY…` in the folder of a package, entries relative to its `src`.
 */
import { cpSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { build } from "esbuild";

const out = "dist/bundle";

/** Have native code. */
const APART = ["onnxruntime-node", "koffi", "esbuild"];
/** Read files that lie in these folders of theirs, which go along. */
const READS_OWN = { "grpc-health-check": "proto", "@grpc/reflection": "build/proto/grpc" };
/** Ask where they lie for what we use none of: channelz and ORCA; commands that are programs; logging from another thread. */
const ASK_IN_VAIN = ["@grpc/grpc-js", "commander", "pino", "thread-stream"];

/** What CommonJS modules find in their scope, and an ES module has not. */
const banner = [
  'import { createRequire as createRequire_ } from "node:module"; import { dirname as dirname_ } from "node:path";',
  'import { fileURLToPath as fileURLToPath_ } from "node:url"; const require = createRequire_(import.meta.url);',
  "const __filename = fileURLToPath_(import.meta.url); const __dirname = dirname_(__filename);",
].join(" ");

/** Folder and name of the package that a module is of; neither where it is ours. */
const packageOf = (file) => /^.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file) ?? [];

/** Their modules find those files below the bundle's folder, at the same places. */
const ownFiles = {
  name: "own-files",
  setup({ onLoad }) {
    const names = Object.keys(READS_OWN).map((name) => `node_modules/${name}/`);
    onLoad({ filter: new RegExp(`(${names.join("|")}).*\\.js$`) }, ({ path }) => {
      const [folder, name] = packageOf(path);
      const place = join(name, dirname(path).slice(folder.length));
      const contents = readFileSync(path, "utf8");
      return { contents: contents.replaceAll("__dirname", `(__dirname + ${JSON.stringify(`/${place}`)})`) };
    });
  },
};

rmSync(out, { recursive: true, force: true });
const { metafile } = await build({
  entryPoints: process.argv.slice(2).map((entry) => join("src", entry)),
  outbase: "src",
  outdir: out,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20",
  conditions: ["@oarlock/source"],
  external: APART,
  plugins: [ownFiles],
  banner: { js: banner },
  // Names of classes are in errors and logs, and no file may say on whose machine it was built.
  keepNames: true,
  legalComments: "none",
  logLevel: "warning",
  metafile: true,
});

/** Folders of the packages of others, from the places of their modules. */
const folders = new Set();
const wrong = new Set();
for (const file of Object.keys(metafile.inputs)) {
  const [folder, name] = packageOf(file);
  if (folder === undefined) continue;
  folders.add(folder);
  const asks = name in READS_OWN ? /\b__filename\b/ : /\b__(dirname|filename)\b/;
  if (!ASK_IN_VAIN.includes(name) && asks.test(readFileSync(file, "utf8")))
    wrong.add(`${name} (${basename(file)})`);
}
if (wrong.size > 0) {
  console.error(`reads files beside its own, which a bundle does not have: ${[...wrong].join(", ")}`);
  console.error("name it in APART, READS_OWN or ASK_IN_VAIN of tools/bundle.mjs: each says when");
  process.exit(1);
}

for (const folder of folders) {
  const [, name] = packageOf(folder);
  if (name in READS_OWN)
    cpSync(join(folder, READS_OWN[name]), join(out, name, READS_OWN[name]), { recursive: true });
}

const notices = [...folders]
  .sort((a, b) => a.localeCompare(b, "en"))
  .map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? "" : `\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
    return `${name} ${version}, ${license}\n${text}`;
  });
if (notices.length > 0) writeFileSync(join(out, "LICENSES.txt"), notices.join(`\n${"-".repeat(72)}\n\n`));
