/** `kubectl oarlock suspend RUN` and `resume RUN`: a checkpoint and every pod freed, and back. */
import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { OarlockError } from "@oarlock/errors";
import { conditionOf, isTrue } from "@oarlock/kube";
import { type Cluster, runNamed, TRAINING_RUNS } from "../cluster.ts";
import type { PluginContext } from "../main.ts";
import { outputOption, type OutputOptions, runText } from "../output.ts";

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
    .option("--wait", "until it is so")
    .addOption(outputOption());
  return command.action(async (run: string, options: OutputOptions & { readonly wait?: boolean }) => {
    await withCluster(command, async (cluster) => {
      const ref = { namespace: cluster.namespace, name: run };
      await cluster.client.merge(TRAINING_RUNS, ref, { spec: { suspend } });
      const say = options.output === undefined ? terminal.print : () => undefined;
      say(`trainingrun.oarlock.dev/${run} ${suspend ? "suspended" : "resumed"}`);
      if (options.wait === true) say(await until(cluster, run, suspend ? "Suspended" : "Ready"));
      if (options.output !== undefined) terminal.print(await runText(cluster, run, options.output));
    });
  });
}

const LOOK_MS = 1_000;
/** A checkpoint, pods that drain, and pods that start. */
const WAIT_MS = 900_000;

/** Waits until a condition holds, or can hold no more because the run is over; gives the sentence of `why`. */
async function until(cluster: Cluster, name: string, wanted: string): Promise<string> {
  for (let waitedMs = 0; waitedMs <= WAIT_MS; waitedMs += LOOK_MS) {
    const { metadata, status } = await runNamed(cluster, name);
    const holds = (type: string): boolean => isTrue(status?.conditions ?? [], type);
    if ([wanted, "Complete", "Failed"].some(holds))
      return `${metadata.name}: ${conditionOf(status?.conditions ?? [], "Ready")?.message ?? ""}`;
    await sleep(LOOK_MS);
  }
  throw new OarlockError("WAIT_LATE", `not ${wanted} within ${WAIT_MS / 1000} seconds`, { retryable: true });
}
