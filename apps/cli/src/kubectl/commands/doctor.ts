/** `kubectl oarlock doctor`: is the cluster fit for runs; a remedy for each finding. */
import { Command } from "commander";
import { EXIT } from "../../exit-codes.ts";
import type { Finding } from "../finding.ts";
import { type DoctorOptions, examine } from "../findings.ts";
import type { PluginContext } from "../main.ts";
import { natsOption } from "../nats.ts";
import { DATA, formOf, type Forms, outputOption, type OutputOptions } from "../output.ts";

export function doctorCommand({ terminal, withCluster, exit }: PluginContext): Command {
  const command = new Command("doctor")
    .description("Check whether the cluster is fit for runs; a remedy for each finding.")
    .addOption(natsOption("also ask this message server, as this machine reaches it (default: NATS_URL)"))
    .addOption(outputOption());
  return command.action(async (options: OutputOptions & DoctorOptions) => {
    const text = formOf<readonly Finding[]>("doctor", options, { plain: lines(line), forms: FORMS });
    await withCluster(command, async (cluster) => {
      const findings = await examine(cluster, options);
      terminal.print(text(findings));
      if (findings.some(({ state }) => state === "failed")) exit(EXIT.failed);
    });
  });
}

const STATE_WIDTH = 8;
const CHECK_WIDTH = 11;

/** `wide`: a finding with its remedy in one line, for grep. */
const FORMS: Forms<readonly Finding[]> = {
  ...DATA,
  wide: (findings) => lines(wideLine)(findings),
};

function lines(one: (finding: Finding) => string): (findings: readonly Finding[]) => string {
  return (findings) => findings.map(one).join("\n");
}

function wideLine({ fix, ...finding }: Finding): string {
  return `${line(finding)}${fix === undefined ? "" : `  fix: ${fix}`}`;
}

function line({ check, state, message, fix }: Finding): string {
  const head = `${state.padEnd(STATE_WIDTH)} ${check.padEnd(CHECK_WIDTH)} ${message}`;
  return fix === undefined ? head : `${head}\n${" ".repeat(STATE_WIDTH + CHECK_WIDTH + 2)}fix: ${fix}`;
}
