/**
 * `kubectl oarlock checkpoint RUN`: asks for a checkpoint now. The wish is an annotation of the run, which the controller
 * carries to the learner: nobody but it and the run's own pods reaches them.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { OarlockError } from "@oarlock/errors";
import { wholeNumber } from "../../options.ts";
import { runNamed, TRAINING_RUNS } from "../cluster.ts";
import type { PluginContext } from "../main.ts";
import { outputOption, type OutputOptions, runText } from "../output.ts";

const ANNOTATION = "oarlock.dev/checkpoint";
const LOOK_MS = 1_000;

export function checkpointCommand({ terminal, withCluster }: PluginContext): Command {
  const command = new Command("checkpoint")
    .description("Write a checkpoint now, and say which step it holds.")
    .argument("<run>", "name of the run")
    .option("--timeout <seconds>", "how long to wait for it", wholeNumber, 300)
    .addOption(outputOption());
  return command.action(async (name: string, options: OutputOptions & { readonly timeout: number }) => {
    const { timeout, output } = options;
    await withCluster(command, async (cluster) => {
      const { metadata } = await runNamed(cluster, name);
      const request = randomUUID();
      const ref = { namespace: metadata.namespace ?? cluster.namespace, name };
      await cluster.client.merge(TRAINING_RUNS, ref, {
        metadata: { annotations: { [ANNOTATION]: request } },
      });
      for (let waitedMs = 0; waitedMs <= timeout * 1000; waitedMs += LOOK_MS) {
        const { status } = await runNamed(cluster, name);
        if (status?.checkpoint?.request === request) {
          const sentence = `checkpoint of step ${status.checkpoint.step ?? 0}`;
          terminal.print(output === undefined ? sentence : await runText(cluster, name, output));
          return;
        }
        await sleep(LOOK_MS);
      }
      throw new OarlockError(
        "CHECKPOINT_LATE",
        `no checkpoint within ${timeout} seconds; \`kubectl oarlock why ${name}\` says what the run waits for`,
        { retryable: true },
      );
    });
  });
}
