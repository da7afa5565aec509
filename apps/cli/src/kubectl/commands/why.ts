/** `kubectl oarlock why RUN`: what is this run waiting for. */
import { Command } from "commander";
import { isStatus, type Resource } from "@oarlock/kube";
import { runNamed } from "../cluster.ts";
import type { PluginContext } from "../main.ts";
import { DATA, formOf, type Forms, outputOption, type OutputOptions } from "../output.ts";
import { type KubeEvent, PODS, type RunPod, type Waiting, waitingFor } from "../waiting.ts";

const EVENTS: Resource = { apiVersion: "v1", kind: "Event", plural: "events" };

/** `wide`: all that holds it, a line each. */
const FORMS: Forms<Waiting> = {
  ...DATA,
  wide: ({ sentence, more }) => [sentence, ...more.map((text) => `  ${text}`)].join("\n"),
  name: ({ run }) => `trainingrun.oarlock.dev/${run}`,
};

export function whyCommand({ terminal, withCluster }: PluginContext): Command {
  const command = new Command("why")
    .description("Say in one sentence what a run is waiting for.")
    .argument("<run>", "name of the run")
    .addOption(outputOption());
  return command.action(async (name: string, options: OutputOptions) => {
    const text = formOf<Waiting>("why", options, { plain: ({ sentence }) => sentence, forms: FORMS });
    await withCluster(command, async (cluster) => {
      const run = await runNamed(cluster, name);
      const { client, namespace } = cluster;
      const [pods, events] = await Promise.all([
        visible(client.list<RunPod>(PODS, { namespace, labelSelector: `oarlock.dev/run=${name}` })),
        visible(client.list<KubeEvent>(EVENTS, { namespace })),
      ]);
      terminal.print(text(waitingFor({ run, pods, events, nowMs: Date.now() })));
    });
  });
}

/** Who may see runs alone gets what the run itself says. */
async function visible<T>(list: Promise<{ readonly items: readonly T[] }>): Promise<readonly T[]> {
  try {
    return (await list).items;
  } catch (reason) {
    if (isStatus(reason, 403)) return [];
    throw reason;
  }
}
