/** `oarlock plan FILE`: what a run would do, from where each value comes, and what it costs; refuses traps. */
import { Command } from "commander";
import { estimateTime, type Plan, type TimeEstimate } from "@oarlock/runfile";
import { calibrate } from "../calibrate.ts";
import type { CommandContext } from "../context.ts";
import { setOption } from "../options.ts";
import { heardBy } from "../render/loading.ts";
import { prepare, refuseProblems } from "../prepare.ts";
import { inspectFolder } from "../earlier-run.ts";
import { planRows, renderCost, renderDecisions, renderPlanRows } from "../render/plan.ts";

interface PlanOptions {
  readonly set: readonly string[];
  readonly calibrate: boolean;
  readonly json?: boolean;
  readonly elsewhere?: boolean;
  readonly out?: string;
}

export function planCommand({ terminal }: CommandContext): Command {
  return new Command("plan")
    .description(
      "Show the resolved configuration with the origin of every value, memory and time; refuse traps.",
    )
    .argument("<file>", "run file, YAML or JSON")
    .addOption(setOption())
    .option("--no-calibrate", "do not measure this machine for the time estimate")
    .option("--out <dir>", "folder of an earlier run: say which stages would run again, and why")
    .option("--elsewhere", "for a run on other machines: do not look for its device on this one")
    .option("--json", "print the resolved run as JSON")
    .addHelpText("after", EXAMPLES)
    .action(async (file: string, options: PlanOptions) => {
      const { plan } = await prepare(file, options.set, {
        elsewhere: options.elsewhere === true,
        // Who reads JSON, as a controller does, shows what is said beside it as a refusal.
        ...(options.json === true ? {} : heardBy(terminal)),
      });
      if (options.json === true) terminal.print(JSON.stringify(plan.run, undefined, 2));
      else terminal.print(renderPlanRows(planRows(plan.run.spec, plan.origins), terminal.style));
      refuseProblems(plan, terminal);
      if (options.json === true) return;
      const earlier = options.out === undefined ? undefined : await inspectFolder(options.out, plan.run);
      if (earlier !== undefined) terminal.print(`\n${renderDecisions(earlier.decisions, terminal.style)}`);
      const time = options.calibrate ? await timeOf(plan) : undefined;
      terminal.print(`\n${renderCost(plan, time, terminal.style)}`);
    });
}

/** Measures this machine for a few seconds; the rates are printed with and never enter the plan (D1). */
async function timeOf(plan: Plan): Promise<TimeEstimate> {
  const calibration = await calibrate(plan.run);
  const evaluationRows = plan.run.inputs.data.find(({ path }) => path === "evaluation.data")?.rows ?? 0;
  return estimateTime({ spec: plan.run.spec, tokens: plan.tokens, calibration, evaluationRows });
}

const EXAMPLES = `
Examples:
  oarlock plan run.yaml
  oarlock plan run.yaml --set model.from=hf://HuggingFaceTB/SmolLM2-135M-Instruct
  oarlock plan run.yaml --out runs/first
  oarlock plan run.yaml --json > plan.json`;
