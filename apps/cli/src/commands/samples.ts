/** `oarlock samples DIR`: what the policy wrote, before and after, or at a step. */
import { Command } from "commander";
import { pairSamples, renderPairs, renderSample, type SampleRecord } from "@oarlock/report";
import type { CommandContext } from "../context.ts";
import { positiveNumber, wholeNumber } from "../options.ts";
import { readPlan, readSamples, runPaths } from "../run-folder.ts";

interface SamplesOptions {
  readonly stage?: string;
  readonly step?: number;
  readonly count: number;
  readonly failed?: boolean;
}

export function samplesCommand({ terminal }: CommandContext): Command {
  return new Command("samples")
    .description("Show samples: the same prompts before and after, or the rollouts of a step.")
    .argument("<dir>", "run folder")
    .option("--stage <name>", "rollouts of this stage")
    .option("--step <number>", "rollouts of this step", wholeNumber)
    .option("--failed", "samples whose scoring failed")
    .option("--count <number>", "how many", positiveNumber, 8)
    .addHelpText("after", EXAMPLES)
    .action(async (folder: string, options: SamplesOptions) => {
      await readPlan(folder);
      const samples = await readSamples(runPaths(folder));
      const { width, style } = terminal;
      const asked = options.stage !== undefined || options.step !== undefined || options.failed === true;
      const pairs = asked ? [] : pairSamples(samples, options.count);
      if (pairs.length > 0) {
        terminal.print(renderPairs(pairs, width, style));
        return;
      }
      const chosen = samples.filter((sample) => matches(sample, options)).slice(-options.count);
      terminal.print(
        chosen.length === 0
          ? nothingChosen(samples, options)
          : chosen.map((sample) => renderSample(sample, style)).join("\n\n"),
      );
    });
}

function nothingChosen(samples: readonly SampleRecord[], { failed }: SamplesOptions): string {
  if (failed === true) return "no scoring failed among the samples that were kept";
  return `no such samples; there are ${placesOf(samples)}`;
}

/** Stages with the steps whose samples were kept, e.g. `samples of sft steps 1 to 500`. */
function placesOf(samples: readonly SampleRecord[]): string {
  const stages = [...new Set(samples.map(({ stage }) => stage))];
  const places = stages.map((stage) => {
    const steps = samples.filter((sample) => sample.stage === stage).map(({ step }) => step);
    return `${stage} steps ${steps.reduce((a, b) => Math.min(a, b))} to ${steps.reduce((a, b) => Math.max(a, b))}`;
  });
  return places.length === 0 ? "none yet" : `samples of ${places.join(", ")}`;
}

function matches(sample: SampleRecord, { stage, step, failed }: SamplesOptions): boolean {
  if (stage !== undefined && sample.stage !== stage) return false;
  if (step !== undefined && sample.step !== step) return false;
  return failed !== true || sample.total === null;
}

const EXAMPLES = `
Examples:
  oarlock samples runs/addition
  oarlock samples runs/addition --stage grpo --step 20 --count 4`;
