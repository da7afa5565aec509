/** `oarlock replace-scorer DIR SCORER`: gives a scorer of a run that goes on another version, from a step on. */
import { resolve } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { OarlockError } from "@oarlock/errors";
import { LearnerService } from "@oarlock/proto";
import { openChannel } from "@oarlock/rpc";
import type { RpcChannelOptions } from "@oarlock/rpc";
import { readCliEnvironment, type TlsFiles } from "../config.ts";
import type { CommandContext } from "../context.ts";
import { readProcesses } from "../processes/index.ts";
import { ACCESS_OPTIONS, accessAdvice, type AccessOptions, serviceAccess } from "../service-access.ts";

/** The learner finishes its step first. */
const TIMEOUT_MS = 610_000;

interface ReplaceOptions extends AccessOptions {
  readonly scorerVersion?: string;
  readonly model?: string;
  readonly step?: number;
  readonly learner?: string;
}

export function replaceScorerCommand({ terminal }: CommandContext): Command {
  const command = new Command("replace-scorer")
    .description("Give a scorer of a running run another version: a reward model's successor, a service's.")
    .argument("<dir>", "run folder")
    .argument("<scorer>", "name of a reward of type model, http, grpc or judge, or stage/<name>")
    .option(
      "--model <folder>",
      "reward model that takes over: a folder that the learner reads, or hf://org/name",
    )
    .option(
      "--scorer-version <version>",
      "of a scorer in another process: the version of its verdicts; of a judge: the model",
    )
    .option(
      "--step <n>",
      "first step of the new version (default: the first whose work is not out)",
      positive,
    )
    .option("--learner <host:port>", "the learner, where it is no process of this machine")
    .addHelpText("after", EXAMPLES)
    .action(async (folder: string, scorer: string, options: ReplaceOptions) => {
      const { scorerVersion = "", model = "", step = 0 } = options;
      const access = serviceAccess(options);
      const learner =
        options.learner === undefined
          ? await learnerOf(folder)
          : { address: options.learner, tls: readCliEnvironment().tls };
      const source = model === "" || model.includes("://") ? model : resolve(model);
      const request = { scorer, version: scorerVersion, model: source, step };
      const made = await askLearner(learner.address, access(learner.tls), request);
      terminal.print(`${scorer} is ${made.version} from step ${made.step} of ${made.stageName} on`);
    });
  for (const option of ACCESS_OPTIONS) command.addOption(option);
  return command;
}

async function askLearner(
  address: string,
  access: RpcChannelOptions,
  request: {
    readonly scorer: string;
    readonly version: string;
    readonly model: string;
    readonly step: number;
  },
): Promise<{ readonly version: string; readonly step: number; readonly stageName: string }> {
  using channel = openChannel(address, access);
  try {
    return await channel.client(LearnerService).replaceScorer(request, { timeoutMs: TIMEOUT_MS });
  } catch (cause) {
    const advice = accessAdvice(cause, access);
    if (advice === undefined) throw cause;
    throw new OarlockError("LEARNER_UNREACHED", advice, { cause });
  }
}

function positive(text: string): number {
  if (/^[1-9][0-9]{0,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("accepted: a step, from 1");
}

/** Throws `RUN_NOT_FOUND` where the folder's run is no run of several processes, or does not run. */
async function learnerOf(folder: string): Promise<{ readonly address: string; readonly tls: TlsFiles }> {
  const file = await readProcesses(folder);
  const address = file?.children.find(({ role }) => role === "learner")?.address;
  if (file !== undefined && address !== undefined) return { address, tls: file.tls };
  throw new OarlockError(
    "RUN_NOT_FOUND",
    `${folder}: no learner of this machine serves it; accepted: a folder of \`oarlock run --processes\` that runs, or --learner host:port`,
  );
}

const EXAMPLES = `
Examples:
  oarlock replace-scorer runs/rlhf preferred --model ./reward-model-2
  oarlock replace-scorer runs/rlhf theirs --scorer-version 8 --step 41
  oarlock replace-scorer runs/rlhf stage/rm-a --model ./rm-a-2     # a member of an ensemble`;
