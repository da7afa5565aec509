/** `kubectl oarlock suspend RUN` and `resume RUN`: a checkpoint and every pod freed, and back. */
import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { OarlockError } from "@oarlock/errors";
import { conditionOf, isTrue } from "@oarlock/kube";
import { type Cluster, runNamed, TRAINING_RUNS } from "../cluster.ts";
import type { PluginContext } from "../main.ts";
import { outputOption, type OutputOptions, runText } from "../output.ts";

/** What the command asks for. */
interface Switch {
  readonly name: string;
  readonly suspend: boolean;
  readonly done: string;
  readonly does: string;
  /** Conditions of which one ends the wait. A run that is over in another way is not as it was asked to be. */
  readonly until: readonly string[];
}

export function suspendCommand(context: PluginContext): Command {
  return switchCommand(context, {
    name: "suspend",
    suspend: true,
    done: "suspended",
    does: "Write a checkpoint and free every pod.",
    until: ["Suspended"],
  });
}

export function resumeCommand(context: PluginContext): Command {
  return switchCommand(context, {
    name: "resume",
    suspend: false,
    done: "resumed",
    does: "Continue a suspended run bit for bit.",
    until: ["Ready", "Complete"],
  });
}

function switchCommand({ terminal, withCluster }: PluginContext, asked: Switch): Command {
  const { name, suspend, done, does } = asked;
  const command = new Command(name)
    .description(does)
    .argument("<run>", "name of the run")
    .option("--wait", "until it is so; fails where the run is over before")
    .addOption(outputOption());
  return command.action(async (run: string, options: OutputOptions & { readonly wait?: boolean }) => {
    await withCluster(command, async (cluster) => {
      const ref = { namespace: cluster.namespace, name: run };
      await cluster.client.merge(TRAINING_RUNS, ref, { spec: { suspend } });
      const say = options.output === undefined ? terminal.print : () => undefined;
      say(`trainingrun.oarlock.dev/${run} ${done}`);
      if (options.wait === true) say(await waitUntil(cluster, run, asked));
      if (options.output !== undefined) terminal.print(await runText(cluster, run, options.output));
    });
  });
}

const LOOK_MS = 1_000;
/** A checkpoint, pods that drain, and pods that start. */
const WAIT_MS = 900_000;

/** Waits until it is so; gives the sentence of `why`. @throws OarlockError `RUN_OVER`, `WAIT_LATE`. */
async function waitUntil(cluster: Cluster, run: string, { until, done }: Switch): Promise<string> {
  for (let waitedMs = 0; waitedMs <= WAIT_MS; waitedMs += LOOK_MS) {
    const { conditions = [] } = (await runNamed(cluster, run)).status ?? {};
    const holds = (type: string): boolean => isTrue(conditions, type);
    const message = conditionOf(conditions, "Ready")?.message ?? "";
    if (until.some(holds)) return `${run}: ${message}`;
    if (["Complete", "Failed"].some(holds))
      throw new OarlockError("RUN_OVER", `${run} was over before it was ${done}: ${message}`);
    await sleep(LOOK_MS);
  }
  throw new OarlockError("WAIT_LATE", `not ${until[0]} within ${WAIT_MS / 1000} seconds`, {
    retryable: true,
  });
}
