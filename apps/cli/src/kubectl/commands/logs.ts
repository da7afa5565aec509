/** `kubectl oarlock logs RUN`: the logs of all roles, each line with its pod. kubectl reads them; this knows which. */
import { Command, Option } from "commander";
import { EXIT } from "../../exit-codes.ts";
import { runNamed } from "../cluster.ts";
import { readableLine } from "../log-lines.ts";
import type { PluginContext } from "../main.ts";

/** kubectl follows no more than this many pods unless it is told to. */
const MOST_PODS = "64";

export function logsCommand({ terminal, withCluster, exit }: PluginContext): Command {
  const command = new Command("logs")
    .description("Show the logs of all roles, each line with its pod.")
    .argument("<run>", "name of the run")
    .addOption(new Option("--role <role>", "of one role").choices(["learner", "actor", "reward"]))
    .option("-f, --follow", "go on as lines come")
    .option("--tail <lines>", "newest lines of each pod", "20")
    .option("--raw", "lines as the pods write them: the learner's are JSON");
  return command.action(
    async (
      name: string,
      options: {
        readonly role?: string;
        readonly follow?: boolean;
        readonly tail: string;
        readonly raw?: boolean;
      },
    ) => {
      await withCluster(command, async (cluster) => {
        await runNamed(cluster, name);
        const role = options.role === undefined ? "" : `,oarlock.dev/role=${options.role}`;
        const args = [
          "logs",
          "-l",
          `oarlock.dev/run=${name}${role}`,
          "--prefix",
          "--ignore-errors",
          `--tail=${options.tail}`,
          `--max-log-requests=${MOST_PODS}`,
          ...(options.follow === true ? ["--follow"] : []),
        ];
        const onLine = (line: string): void => terminal.print(readableLine(line, terminal.style));
        const reader = { onLine, unread: terminal.unread };
        const code = await (options.raw === true
          ? cluster.kubectl(args)
          : cluster.kubectlLines(args, reader));
        if (code !== 0) exit(EXIT.failed);
      });
    },
  );
}
