/**
 * `npm run quickstart`: from a fresh clone to a trained model. Installs, builds, and trains examples/addition.yaml;
 * further arguments go to `oarlock run` (for instance `-- --set seed=3`).
 */
import { join } from "node:path";
import { installAndBuild, root, run } from "./setup.mjs";

installAndBuild();
const oarlock = join(root, "apps", "cli", "bin", "oarlock.js");
run(process.execPath, [oarlock, "run", "examples/addition.yaml", ...process.argv.slice(2)]);
