/** When a run's own message server runs, and whether the run may begin: from what is observed. Pure. */
import { jobOf, livePods, type Observed, statefulSetOf } from "../observed.ts";
import { ownsNats } from "./server.ts";

/** Its pods: none once nobody of the run is left who stops for long. */
export function natsReplicas(observed: Observed, stops: boolean): 0 | 1 {
  return stops && livePods(observed.pods).length === 0 ? 0 : 1;
}

/**
 * Whether the run waits for its server before it begins or resumes. A run that is under way waits by itself: its pods bear that
 * the server restarts.
 */
export function awaitsNats(observed: Observed): boolean {
  if (!ownsNats(observed.run)) return false;
  const begun = jobOf(observed)?.spec?.suspend === false;
  return !begun && (statefulSetOf(observed)?.status?.readyReplicas ?? 0) === 0;
}
