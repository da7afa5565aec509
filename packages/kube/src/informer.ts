/**
 * A shared view of all objects of a kind: listed once, then kept by watching. Whatever ends a watch (a timeout, a reset, 410,
 * the API server away for minutes) is answered by beginning again, so the view is late at worst, never wrong for good. After
 * a new list, what vanished meanwhile is reported as deleted.
 */
import { backoffMs, type Clock, type Log, silentLog, sleep, systemClock } from "@oarlock/runtime";
import { apiError, isStatus } from "./api-error.ts";
import type { KubeClient, WatchEvent } from "./client.ts";
import { keyOf, type KubeObject, type Resource } from "./object.ts";

export interface Change<T> {
  readonly before: T | undefined;
  readonly after: T | undefined;
}

export interface InformerOptions<T> {
  readonly client: KubeClient;
  readonly resource: Resource;
  /** Default: all namespaces. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  /** Told of every change, and of every object every `resyncMs`. */
  readonly onChange: (change: Change<T>) => void;
  /** Default 10 minutes. */
  readonly resyncMs?: number;
  readonly clock?: Clock;
  readonly log?: Log;
  /** Uniform in [0, 1): spreads watches over time. */
  readonly random?: () => number;
}

export interface Informer<T> {
  /** `namespace/name` → object, as last seen. */
  get(key: string): T | undefined;
  list(): readonly T[];
  /** Whether the first list has come. */
  readonly synced: boolean;
  /** How often the whole list was read. */
  readonly lists: number;
  /** Watches until the signal aborts; never fails. */
  run(signal: AbortSignal): Promise<void>;
}

/** Watches live between these, so that those of many controllers do not end together. */
const WATCH_SECONDS = [290, 580] as const;
const RESYNC_MS = 600_000;
/** A watch that held this long starts the pauses anew. */
const HEALTHY_MS = 60_000;
/** A watch that ended in order, sooner than this and with nothing said, was cut off by something that will do it again. */
const SHORT_MS = 1_000;
const BACKOFF = { baseMs: 200, maxMs: 30_000 };

/** An informer that has seen nothing yet. */
export function createInformer<T extends KubeObject>(options: InformerOptions<T>): Informer<T> {
  const { clock = systemClock, log = silentLog, random = Math.random, resource } = options;
  const cache = new Map<string, T>();
  let synced = false;
  let lists = 0;

  const set = (object: T): void => {
    const key = keyOf(object);
    const before = cache.get(key);
    if (before?.metadata.resourceVersion === object.metadata.resourceVersion) return;
    cache.set(key, object);
    options.onChange({ before, after: object });
  };
  const remove = (key: string): void => {
    const before = cache.get(key);
    if (cache.delete(key)) options.onChange({ before, after: undefined });
  };
  const scope = {
    ...(options.namespace === undefined ? {} : { namespace: options.namespace }),
    ...(options.labelSelector === undefined ? {} : { labelSelector: options.labelSelector }),
  };
  const relist = async (signal: AbortSignal): Promise<string> => {
    const { items, resourceVersion } = await options.client.list<T>(resource, { ...scope, signal });
    // Items of a list carry no kind of their own.
    const objects = items.map((item) => ({ ...item, apiVersion: resource.apiVersion, kind: resource.kind }));
    const present = new Set(objects.map(keyOf));
    for (const object of objects) set(object);
    for (const key of cache.keys()) if (!present.has(key)) remove(key);
    synced = true;
    lists++;
    return resourceVersion;
  };
  const follow = async (from: string, signal: AbortSignal): Promise<string> => {
    let version = from;
    const watch = { ...scope, resourceVersion: from, timeoutSeconds: watchSeconds(random), signal };
    for await (const event of options.client.watch(resource, watch)) version = take(event) ?? version;
    return version;
  };
  const take = ({ type, object }: WatchEvent): string | undefined => {
    if (type === "ERROR") throw watchError(resource, object);
    // Events of a watch hold objects of the watched kind, bookmarks only their version.
    const seen = object as T;
    if (type === "DELETED") remove(keyOf(seen));
    else if (type !== "BOOKMARK") set(seen);
    return seen.metadata.resourceVersion;
  };

  return {
    get: (key) => cache.get(key),
    list: () => [...cache.values()],
    get synced() {
      return synced;
    },
    get lists() {
      return lists;
    },
    async run(signal) {
      const resync = startResync(options, cache, clock);
      signal.addEventListener("abort", () => resync.stop(), { once: true });
      let version = "";
      let failures = 0;
      const rest = () => pause(backoffMs(failures++, { ...BACKOFF, random }), clock, signal);
      while (!signal.aborted) {
        const sinceMs = clock.monotonicMs();
        const held = (ms: number): boolean => clock.monotonicMs() - sinceMs > ms;
        try {
          if (version === "") version = await relist(signal);
          const before = version;
          version = await follow(before, signal);
          if (version !== before || held(SHORT_MS)) failures = 0;
          else await rest();
        } catch (reason) {
          if (signal.aborted) break;
          if (held(HEALTHY_MS)) failures = 0;
          const expired = isStatus(reason, 410);
          log.warn("watch ended, begins again", { resource: resource.plural, expired, err: reason });
          // Any error may have lost events: the list is the truth.
          version = "";
          if (!expired) await rest();
        }
      }
      resync.stop();
    },
  };
}

function watchSeconds(random: () => number): number {
  const [least, most] = WATCH_SECONDS;
  return Math.round(least + (most - least) * random());
}

async function pause(delayMs: number, clock: Clock, signal: AbortSignal): Promise<void> {
  try {
    await sleep(delayMs, { clock, signal });
  } catch (reason) {
    if (!signal.aborted) throw reason;
  }
}

function startResync<T>(
  { onChange, resyncMs = RESYNC_MS }: InformerOptions<T>,
  cache: ReadonlyMap<string, T>,
  clock: Clock,
): { stop(): void } {
  let timer = clock.after(resyncMs, tick);
  function tick(): void {
    for (const object of cache.values()) onChange({ before: object, after: object });
    timer = clock.after(resyncMs, tick);
  }
  return { stop: () => timer.cancel() };
}

function watchError(resource: Resource, object: unknown): Error {
  const status =
    typeof object === "object" && object !== null && "code" in object ? Number(object.code) : 500;
  return apiError(`watch of ${resource.plural}`, { status, body: JSON.stringify(object) });
}
