/** `kubectl oarlock fetch RUN FOLDER`: the run folder of a run that keeps it on its message server, as it was at the last checkpoint. */
import { existsSync } from "node:fs";
import { Command } from "commander";
import { connectJetStreamBus } from "@oarlock/bus";
import { fetchKeptFolder } from "@oarlock/checkpoint";
import { OarlockError } from "@oarlock/errors";
import { requireMakeable } from "../../new-folder.ts";
import { runNamed, type TrainingRun } from "../cluster.ts";
import type { PluginContext } from "../main.ts";
import { natsOption, natsOptions } from "../nats.ts";

export function fetchCommand({ terminal, withCluster }: PluginContext): Command {
  const command = new Command("fetch")
    .description("Fetch the run folder, with the model, of a run whose storage is an objectStore.")
    .argument("<run>", "name of the run")
    .argument("<folder>", "folder to make")
    .addOption(natsOption());
  return command.action(async (name: string, folder: string, options: { readonly nats?: string }) => {
    await withCluster(command, async (cluster) => {
      const { metadata, spec } = await runNamed(cluster, name);
      requireKept(name, spec);
      if (existsSync(folder))
        throw new OarlockError("FOLDER_EXISTS", `${folder} is there already; accepted: a folder that is not`);
      await requireMakeable(folder, "folder");
      const nats = natsOptions(spec, { ...options, why: "the run folder lies on the run's message server" });
      await using bus = await connectJetStreamBus({ ...nats, name: "kubectl-oarlock" });
      const uid = metadata.uid ?? "";
      if ((await fetchKeptFolder({ bus, uid, folder })) === undefined) throw nothingYet(name);
      terminal.print(folder);
    });
  });
}

function requireKept(name: string, { storage }: TrainingRun["spec"]): void {
  if (storage?.type === "objectStore") return;
  throw new OarlockError(
    "RUN_FOLDER_ELSEWHERE",
    `the run folder of ${name} lies on a volume; accepted: a run with storage of type objectStore`,
  );
}

function nothingYet(name: string): OarlockError {
  return new OarlockError(
    "RUN_FOLDER_NOT_KEPT",
    `nothing is kept of ${name} yet; \`kubectl oarlock why ${name}\` says what it waits for`,
    { retryable: true },
  );
}
