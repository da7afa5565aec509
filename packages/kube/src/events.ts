/**
 * Events that `kubectl describe` shows. The same event within a while is one object whose count rises, so that a loop
 * cannot flood the API server; recording never fails a reconcile.
 */
import { type Clock, type Log, silentLog, systemClock } from "@oarlock/runtime";
import type { KubeClient } from "./client.ts";
import type { KubeObject, Resource } from "./object.ts";

const EVENTS: Resource = { apiVersion: "v1", kind: "Event", plural: "events" };
/** Longest message that the API server takes. */
const LONGEST_MESSAGE = 1024;
/** Repeats within this time raise the count of the first. */
const SERIES_MS = 600_000;
const KEPT_SERIES = 1_000;

/** What happened to an object. */
export interface EventNote {
  readonly type: "Normal" | "Warning";
  /** CamelCase, one per cause. */
  readonly reason: string;
  readonly message: string;
}

export interface EventRecorder {
  record(about: KubeObject, note: EventNote): Promise<void>;
}

export interface RecorderOptions {
  readonly client: KubeClient;
  /** Name of the controller. */
  readonly component: string;
  readonly clock?: Clock;
  readonly log?: Log;
}

interface Series {
  readonly name: string;
  readonly first: string;
  readonly sinceMs: number;
  readonly count: number;
}

/** A recorder that has recorded nothing. */
export function createRecorder(options: RecorderOptions): EventRecorder {
  const { client, component, clock = systemClock, log = silentLog } = options;
  const seriesOf = new Map<string, Series>();
  let number = 0;
  const next = (key: string, about: KubeObject): Series => {
    const before = seriesOf.get(key);
    const nowMs = clock.nowMs();
    if (before !== undefined && nowMs - before.sinceMs < SERIES_MS)
      return { ...before, count: before.count + 1 };
    const name = `${about.metadata.name}.${nowMs.toString(36)}${(number++).toString(36)}`;
    return { name, first: new Date(nowMs).toISOString(), sinceMs: nowMs, count: 1 };
  };
  return {
    async record(about, note) {
      const key = JSON.stringify([about.metadata.uid, note.type, note.reason, note.message]);
      const series = next(key, about);
      seriesOf.delete(key);
      seriesOf.set(key, series);
      if (seriesOf.size > KEPT_SERIES) seriesOf.delete(seriesOf.keys().next().value ?? "");
      const event = eventObject(about, note, { series, component, time: new Date(clock.nowMs()) });
      try {
        await client.apply(EVENTS, event, { fieldManager: component });
      } catch (reason) {
        log.warn("an event was not recorded", { reason: note.reason, err: reason });
      }
    },
  };
}

function eventObject(
  about: KubeObject,
  { type, reason, message }: EventNote,
  of: { readonly series: Series; readonly component: string; readonly time: Date },
): KubeObject {
  const { apiVersion, kind, metadata } = about;
  const { series, component, time } = of;
  const { namespace = "default", name, uid } = metadata;
  const event = {
    apiVersion: EVENTS.apiVersion,
    kind: EVENTS.kind,
    metadata: { name: series.name, namespace },
    involvedObject: { apiVersion, kind, namespace, name, uid },
    type,
    reason,
    message: message.slice(0, LONGEST_MESSAGE),
    source: { component },
    reportingComponent: component,
    firstTimestamp: series.first,
    lastTimestamp: time.toISOString(),
    count: series.count,
  };
  return event;
}
