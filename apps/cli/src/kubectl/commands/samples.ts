/** `kubectl oarlock samples RUN`: what the policy writes, read from the learner's run folder. */
import { Command } from "commander";
import { parseSamples, renderSample, type SampleRecord } from "@oarlock/report";
import { wholeNumber } from "../../options.ts";
import { runNamed } from "../cluster.ts";
import type { PluginContext } from "../main.ts";
import { requireSamples, samplesPlace } from "../samples-place.ts";
import { PODS, type RunPod } from "../waiting.ts";
import { DATA, formOf, outputOption, type OutputOptions } from "../output.ts";

export function samplesCommand({ terminal, withCluster }: PluginContext): Command {
  const command = new Command("samples")
    .description("Show the newest samples of a run whose learner runs.")
    .argument("<run>", "name of the run")
    .option("--count <number>", "how many", wholeNumber, 8)
    .addOption(outputOption());
  return command.action(async (name: string, options: OutputOptions & { readonly count: number }) => {
    const { count } = options;
    const render = (samples: readonly SampleRecord[]): string =>
      samples.map((sample) => renderSample(sample, terminal.style)).join("\n\n");
    const text = formOf("samples", options, { plain: render, forms: DATA });
    await withCluster(command, async (cluster) => {
      const run = await runNamed(cluster, name);
      requireSamples(run);
      const labelSelector = `oarlock.dev/run=${name},oarlock.dev/role=learner`;
      const pods = await cluster.client.list<RunPod>(PODS, { namespace: cluster.namespace, labelSelector });
      const { pod, file } = samplesPlace(run, pods.items);
      const read = ["exec", pod, "-c", "learner", "--", "tail", "-n", String(count), file];
      terminal.print(text(parseSamples(await cluster.kubectlOutput(read))));
    });
  });
}
