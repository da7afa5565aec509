/** Run file → checked plan: what `validate`, `plan`, `run`, `resume` and `reproduce` have in common. */
import { OarlockError } from "@oarlock/errors";
import { type Plan, resolvePlan } from "@oarlock/runfile";
import { type FactsOptions, gatherFacts } from "./facts.ts";
import { loadRunFile, type RunFileSource } from "./run-file-source.ts";
import type { PlanDocument, RunPaths } from "./run-folder.ts";
import type { Terminal } from "./terminal.ts";
import { renderPlanProblems } from "./render/plan.ts";

export interface Prepared {
  readonly source: RunFileSource;
  readonly plan: Plan;
}

/** Loads the run file, looks at model, data and machine, and resolves the plan. Problems of the plan are in the plan. */
export async function prepare(
  path: string,
  set: readonly string[],
  options: FactsOptions = {},
): Promise<Prepared> {
  const source = await loadRunFile(path, set);
  const facts = await gatherFacts(source, options);
  return { source, plan: resolvePlan(source.file, facts) };
}

/** Refuses a plan with problems, all of them named. */
export function refuseProblems(plan: Plan, terminal: Terminal): void {
  const { problems } = plan;
  if (problems.length === 0) return;
  const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  throw new OarlockError("PLAN_REFUSED", `${count}:\n${renderPlanProblems(plan, terminal.style)}`);
}

/** The plan of a run folder, resolved anew against the model, data, engine and machine of today. */
export async function prepareAgain(
  paths: RunPaths,
  plan: PlanDocument,
  options: FactsOptions = {},
): Promise<Prepared> {
  const kept = await loadRunFile(paths.runFile, plan.set);
  const source = { ...kept, path: plan.source, baseDir: plan.baseDir };
  const facts = await gatherFacts(source, options);
  return { source, plan: resolvePlan(source.file, facts) };
}
