/** Where a run stands by what its folder holds: at work, killed, or ended as its summary says. */
import { type MetricsRecord, type RunSummary, summarize, type SummaryInput } from "@oarlock/report";
import { irreproducibleBecause } from "@oarlock/runfile";
import { type PlanDocument, readSummary, runPaths } from "./run-folder.ts";
import { ownerOf } from "./running-mark.ts";
import { secondsSoFar } from "./sittings.ts";

/** Of a run that has not ended by itself; of one that another machine began, or services did, nobody here knows more. */
export type UnendedStatus = "running" | "killed" | "running or killed";

export type Standing = RunSummary | RunSummary<UnendedStatus>;

/** What a plan's run came to by its records. */
export function summaryOf<Status extends string>(
  { run }: PlanDocument,
  ended: Pick<SummaryInput<Status>, "status" | "reason" | "seconds" | "records">,
): RunSummary<Status> {
  const because = irreproducibleBecause(run.spec);
  return summarize({
    ...ended,
    name: run.name,
    planDigest: run.digest,
    ...(because === undefined ? {} : { irreproducibleBecause: because }),
    stages: run.spec.stages.map(({ name }) => name),
    rewardModels: run.spec.stages.flatMap(({ name, type }) => (type === "reward-model" ? name : [])),
  });
}

interface ReadRun {
  readonly folder: string;
  readonly plan: PlanDocument;
  readonly records: readonly MetricsRecord[];
}

/** The summary is that of the last sitting that ended: where another one began since, the records say more. */
export async function standingOf({ folder, plan, records }: ReadRun, nowMs: number): Promise<Standing> {
  const paths = runPaths(folder);
  const [owner, summary] = [await ownerOf(folder), await readSummary(paths)];
  if (summary !== undefined && (owner === undefined || summary.status === "completed")) return summary;
  const status = STATUSES[owner ?? "unknown"];
  const seconds = await secondsSoFar(paths, records, status === "running" ? nowMs : undefined);
  return summaryOf(plan, { status, seconds, records });
}

const STATUSES = { alive: "running", dead: "killed", unknown: "running or killed" } as const;
