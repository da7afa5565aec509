/** `npm run crd`: writes the custom resource definitions from the run file's schema; `--check` fails where they drifted. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { customResources } from "@oarlock/runfile";

const folder = "deploy/k8s/crds";
const check = process.argv.includes("--check");
mkdirSync(folder, { recursive: true });

for (const [name, wanted] of customResources()) {
  const file = join(folder, name);
  const present = existsSync(file) ? readFileSync(file, "utf8") : "";
  if (present === wanted) continue;
  if (!check) writeFileSync(file, wanted);
  else {
    console.error(`${file} differs from the schema; run npm run crd`);
    process.exitCode = 1;
  }
}
