/** `kubectl oarlock doctor`: is the cluster fit for runs; a remedy for each finding. */
import { Command, Option } from "commander";
import { EXIT } from "../../exit-codes.ts";
import type { Finding } from "../finding.ts";
import { examine } from "../findings.ts";
import type { PluginContext } from "../main.ts";

export function doctorCommand({ terminal, withCluster, exit }: PluginContext): Command {
  const command = new Command("doctor")
    .description("Check whether the cluster is fit for runs; a remedy for each finding.")
    .addOption(new Option("-o, --output <form>", "for programs").choices(["json"]));
  return command.action(async ({ output }: { readonly output?: string }) => {
    await withCluster(command, async (cluster) => {
      const findings = await examine(cluster);
      terminal.print(
        output === "json" ? JSON.stringify(findings, undefined, 2) : findings.map(line).join("\n"),
      );
      if (findings.some(({ state }) => state === "failed")) exit(EXIT.failed);
    });
  });
}

const STATE_WIDTH = 8;
const CHECK_WIDTH = 11;

function line({ check, state, message, fix }: Finding): string {
  const head = `${state.padEnd(STATE_WIDTH)} ${check.padEnd(CHECK_WIDTH)} ${message}`;
  return fix === undefined ? head : `${head}\n${" ".repeat(STATE_WIDTH + CHECK_WIDTH + 2)}fix: ${fix}`;
}
