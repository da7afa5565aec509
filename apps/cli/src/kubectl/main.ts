/** `kubectl oarlock`: what kubectl itself cannot do with training runs. Wiring, and what a failure means for the exit code. */
import { Command, CommanderError } from "commander";
import { causeChain, isOarlockError } from "@oarlock/errors";
import { EXIT, EXIT_CODES_HELP, type ExitCode } from "../exit-codes.ts";
import { oarlockVersion } from "../version.ts";
import { processTerminal, type Terminal } from "../terminal.ts";
import { type Cluster, type ClusterFlags, openCluster } from "./cluster.ts";
import { checkpointCommand } from "./commands/checkpoint.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { fetchCommand } from "./commands/fetch.ts";
import { logsCommand } from "./commands/logs.ts";
import { samplesCommand } from "./commands/samples.ts";
import { submitCommand } from "./commands/submit.ts";
import { resumeCommand, suspendCommand } from "./commands/suspend.ts";
import { whyCommand } from "./commands/why.ts";

/** What every command of the plugin is given. */
export interface PluginContext {
  readonly terminal: Terminal;
  /** Runs something against the cluster that the flags name. */
  readonly withCluster: (command: Command, work: (cluster: Cluster) => Promise<void>) => Promise<void>;
  readonly exit: (code: ExitCode) => void;
}

const PLUGIN_COMMANDS: readonly ((context: PluginContext) => Command)[] = [
  submitCommand,
  whyCommand,
  logsCommand,
  samplesCommand,
  suspendCommand,
  resumeCommand,
  checkpointCommand,
  fetchCommand,
  doctorCommand,
];

/** Runs the plugin and returns its exit code. `argv` as in `process.argv`. */
export async function main(
  argv: readonly string[],
  terminal: Terminal = processTerminal(),
): Promise<ExitCode> {
  let code: ExitCode = EXIT.ok;
  const context: PluginContext = {
    terminal,
    async withCluster(command, work) {
      const cluster = openCluster(command.opts<ClusterFlags>());
      try {
        await work(cluster);
      } finally {
        cluster.close();
      }
    },
    exit: (chosen) => {
      code = chosen;
    },
  };
  try {
    await createPlugin(context).parseAsync(argv);
  } catch (reason) {
    code = explain(reason, terminal);
  }
  return (await terminal.settled()) || code !== EXIT.ok ? code : EXIT.failed;
}

/** The whole command line, which completions read, too. */
export function createPlugin(context: PluginContext): Command {
  const { terminal } = context;
  const trimmed = (write: (text: string) => void) => (text: string) => write(text.replace(/\n$/, ""));
  const program = new Command("kubectl oarlock")
    .description("Training runs on a cluster: what kubectl itself lacks.")
    .version(oarlockVersion())
    .addHelpText("after", EXIT_CODES_HELP);
  for (const create of PLUGIN_COMMANDS) program.addCommand(withClusterFlags(create(context)));
  for (const command of [program, ...program.commands])
    command
      .exitOverride()
      .configureOutput({ writeOut: trimmed(terminal.print), writeErr: trimmed(terminal.note) });
  return program;
}

function withClusterFlags(command: Command): Command {
  return command
    .option("-n, --namespace <name>", "namespace (default: the context's)")
    .option("--context <name>", "context of the kubeconfig")
    .option("--kubeconfig <path>", "kubeconfig (default: kubectl's)");
}

function explain(reason: unknown, { note, style }: Terminal): ExitCode {
  if (reason instanceof CommanderError) return reason.exitCode === 0 ? EXIT.ok : EXIT.usage;
  const [first = "", ...causes] = causeChain(reason);
  note(`${style.bad("error")} ${first}${causes.map((cause) => `\n  because: ${cause}`).join("")}`);
  return isOarlockError(reason) && !reason.retryable ? EXIT.refused : EXIT.failed;
}
