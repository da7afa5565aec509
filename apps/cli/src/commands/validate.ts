/** `oarlock validate FILE`: reads and checks a run file, its model, data and functions. */
import { Command } from "commander";
import type { CommandContext } from "../context.ts";
import { setOption } from "../options.ts";
import { heardBy } from "../render/loading.ts";
import { prepare, refuseProblems } from "../prepare.ts";
import { loadRunFile } from "../run-file-source.ts";

export function validateCommand({ terminal }: CommandContext): Command {
  return new Command("validate")
    .description("Check a run file: every error with its line, its value and what is accepted.")
    .argument("<file>", "run file, YAML or JSON")
    .addOption(setOption())
    .option("--shallow", "check the file alone: open no model and no data")
    .addHelpText("after", EXAMPLES)
    .action(async (file: string, options: { set: readonly string[]; shallow?: boolean }) => {
      if (options.shallow === true) await loadRunFile(file, options.set);
      else refuseProblems((await prepare(file, options.set, heardBy(terminal))).plan, terminal);
      terminal.print(`${file}: ${terminal.style.good("valid")}`);
    });
}

const EXAMPLES = `
Examples:
  oarlock validate run.yaml
  oarlock validate run.yaml --set stages.grpo.groupSize=1
  oarlock validate run.yaml --shallow     # on a machine without the model`;
