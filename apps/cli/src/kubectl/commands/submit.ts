/** `kubectl oarlock submit FILE`: packs every local file that a run names, makes the run, and stores the files with it. */
import { Command } from "commander";
import { connectJetStreamBus } from "@oarlock/bus";
import { formatBytes } from "@oarlock/runfile";
import { setOption } from "../../options.ts";
import { loadRunFile } from "../../run-file-source.ts";
import { type Cluster, TRAINING_RUNS, type TrainingRun } from "../cluster.ts";
import type { PluginContext } from "../main.ts";
import { natsOption, natsOptions } from "../nats.ts";
import { outputOption, type OutputOptions, runText } from "../output.ts";
import type { PackedRun } from "../pack.ts";

interface SubmitOptions extends OutputOptions {
  readonly set: readonly string[];
  readonly nats?: string;
  readonly dryRun?: boolean;
}

export function submitCommand({ terminal, withCluster }: PluginContext): Command {
  const command = new Command("submit")
    .description("Make a run from a run file, with every file of this machine that it names.")
    .argument("<file>", "run file, YAML or JSON")
    .addOption(setOption())
    .addOption(natsOption())
    .option("--dry-run", "print the run with its files packed, and make nothing")
    .addOption(outputOption())
    .addHelpText("after", EXAMPLES);
  return command.action(async (file: string, options: SubmitOptions) => {
    // Compilers and data readers: a second to load, which no other command of the plugin needs.
    const { packRun } = await import("../pack.ts");
    const packed = await packRun(await loadRunFile(file, options.set));
    if (options.dryRun === true) {
      terminal.print(JSON.stringify(packed.run, undefined, 2));
      return;
    }
    await withCluster(command, async (cluster) => {
      const made = await submit(cluster, packed, options);
      const { name } = made.metadata;
      const bytes = packed.bundles.reduce((sum, bundle) => sum + bundle.bytes, 0);
      if (packed.bundles.length > 0)
        terminal.note(`packed ${packed.bundles.length} file(s) or folder(s), ${formatBytes(bytes)}`);
      if (options.output === undefined) terminal.print(`trainingrun.oarlock.dev/${name} created`);
      else terminal.print(await runText(cluster, name, options.output));
    });
  });
}

/** Makes the run, which waits for its files, and stores them; a run whose files could not be stored is taken back. */
async function submit(
  { client, namespace }: Cluster,
  { run, bundles }: PackedRun,
  options: SubmitOptions,
): Promise<TrainingRun> {
  const metadata = { namespace, ...given(run.metadata) };
  const nats =
    bundles.length === 0 ? undefined : natsOptions(run.spec, { ...options, why: FILES_ARE_STORED });
  // Reached before anything is made.
  await using bus = nats && (await connectJetStreamBus({ ...nats, name: "kubectl-oarlock" }));
  const { apiVersion, kind, spec } = run;
  const made = await client.create<TrainingRun>(TRAINING_RUNS, { apiVersion, kind, metadata, spec });
  if (bus === undefined) return made;
  const { name, namespace: place = namespace, uid = "" } = made.metadata;
  const { storeBundle } = await import("@oarlock/workload");
  try {
    await storeBundle({ bus, uid, bundles });
  } catch (reason) {
    await client.remove(TRAINING_RUNS, { namespace: place, name }, { uid });
    throw reason;
  }
  return made;
}

/** Without fields that the file leaves out. */
function given({
  name,
  namespace,
  labels,
  annotations,
}: PackedRun["run"]["metadata"]): TrainingRun["metadata"] {
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(labels === undefined ? {} : { labels }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

const FILES_ARE_STORED = "the run names files of this machine, which are stored on its message server";

const EXAMPLES = `
Examples:
  kubectl oarlock submit run.yaml --nats nats://127.0.0.1:4222
  kubectl oarlock submit run.yaml --set spec.suspend=true -o name
  kubectl oarlock submit run.yaml --dry-run`;
