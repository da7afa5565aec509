/** `npm run crd`: writes the custom resource definition from the run file's schema; `--check` fails where it has drifted. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { customResourceYaml } from "@oarlock/runfile";

const file = "deploy/k8s/crds/trainingruns.yaml";
const wanted = customResourceYaml();
const present = existsSync(file) ? readFileSync(file, "utf8") : "";
if (process.argv.includes("--check")) {
  if (present !== wanted) {
    console.error(`${file} differs from the schema; run npm run crd`);
    process.exitCode = 1;
  }
} else {
  mkdirSync("deploy/k8s/crds", { recursive: true });
  writeFileSync(file, wanted);
}
