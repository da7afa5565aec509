/** `npm run bench`: the benchmarks (tests/bench/run.ts), in a process that starts as the command line's do. */
import { startEnvironment } from "../apps/cli/bin/environment.js";
import { run } from "./setup.mjs";

const tsx = ["--conditions=@oarlock/source", "--import", "tsx"];
run(process.execPath, [...tsx, "tests/bench/run.ts", ...process.argv.slice(2)], {
  env: startEnvironment(),
});
