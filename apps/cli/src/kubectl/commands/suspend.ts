/** `kubectl oarlock suspend RUN` and `resume RUN`: a checkpoint and every pod freed, and back. */
import { Command } from "commander";
import { TRAINING_RUNS } from "../cluster.ts";
import type { PluginContext } from "../main.ts";

export function suspendCommand(context: PluginContext): Command {
  return switchCommand(context, {
    name: "suspend",
    suspend: true,
    does: "Write a checkpoint and free every pod.",
  });
}

export function resumeCommand(context: PluginContext): Command {
  return switchCommand(context, {
    name: "resume",
    suspend: false,
    does: "Continue a suspended run bit for bit.",
  });
}

function switchCommand(
  { terminal, withCluster }: PluginContext,
  { name, suspend, does }: { readonly name: string; readonly suspend: boolean; readonly does: string },
): Command {
  const command = new Command(name)
    .description(does)
    .argument("<run>", "name of the run")
    .option("--wait", "until it is so");
  return command.action(async (run: string, options: { readonly wait?: boolean }) => {
    await withCluster(command, async (cluster) => {
      const ref = { namespace: cluster.namespace, name: run };
      await cluster.client.merge(TRAINING_RUNS, ref, { spec: { suspend } });
      terminal.print(`trainingrun.oarlock.dev/${run} ${suspend ? "suspended" : "resumed"}`);
      const condition = suspend ? "Suspended" : "Suspended=False";
      if (options.wait === true)
        await cluster.kubectlOutput([
          "wait",
          `trun/${run}`,
          `--for=condition=${condition}`,
          "--timeout=600s",
        ]);
    });
  });
}
