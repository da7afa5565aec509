/**
 * The end of a run: its streams and buckets lie outside of the API server, so a finalizer holds the run until they are
 * deleted. It never holds it for ever: after a while, or where somebody says so, the run goes and an event says what stays.
 */
import type { EventNote } from "@oarlock/kube";
import { FINALIZER, SKIP_CLEANUP_ANNOTATION } from "./names.ts";
import { livePods, type Observed } from "./observed.ts";

/** Pods get this long to drain, then the streams are deleted under them. */
const DRAIN_MS = 330_000;
/** The message server gets this long after that. */
const CLEANUP_MS = 60_000;

export interface Ending {
  /** Delete the streams now. */
  readonly cleanup: boolean;
  /** The run's finalizers, where they should be others. */
  readonly finalizers?: readonly string[];
  readonly events: readonly EventNote[];
}

const NOTHING: Ending = { cleanup: false, events: [] };

/** What the finalizer wants. */
export function endOf(observed: Observed): Ending {
  const { finalizers = [], deletionTimestamp } = observed.run.metadata;
  const held = finalizers.includes(FINALIZER);
  if (deletionTimestamp !== undefined) return held ? release(observed, deletionTimestamp) : NOTHING;
  return held || !observed.cleans ? NOTHING : { ...NOTHING, finalizers: [...finalizers, FINALIZER] };
}

function release({ run, cleanup, pods, nowMs }: Observed, deletionTimestamp: string): Ending {
  const { finalizers = [], annotations = {}, uid } = run.metadata;
  const free = (events: Ending["events"]): Ending => ({
    cleanup: false,
    finalizers: finalizers.filter((finalizer) => finalizer !== FINALIZER),
    events,
  });
  const left = (why: string): Ending =>
    free([{ type: "Warning", reason: "StreamsLeft", message: `the streams of ${uid} stay: ${why}` }]);
  if (annotations[SKIP_CLEANUP_ANNOTATION] !== undefined) return left(`${SKIP_CLEANUP_ANNOTATION} is set`);
  const waitedMs = nowMs - Date.parse(deletionTimestamp);
  const drained = livePods(pods).length === 0;
  if (cleanup === undefined) return { ...NOTHING, cleanup: drained || waitedMs > DRAIN_MS };
  if (cleanup.done) return free([]);
  return waitedMs > CLEANUP_MS + (drained ? 0 : DRAIN_MS) ? left(cleanup.message) : NOTHING;
}
