/** The command line as a library: `main(argv)` is what `oarlock` runs. */
export { main } from "./main.ts";
