/**
 * An exporter whose failures stay here: the first one of a row is a warning, the next success says how much was lost.
 * Whoever calls it never sees a failure, so that nothing waits or fails because a backend is gone.
 */
import { withoutCredentials } from "@oarlock/errors";
import type { Log } from "@oarlock/runtime";

/** What traces' and metrics' exporters have in common. */
interface Exporter<T> {
  export(items: T, done: (result: ExportResult) => void): void;
  shutdown(): Promise<void>;
  forceFlush?(): Promise<void>;
}

interface ExportResult {
  readonly code: number;
  readonly error?: Error;
}

const SUCCESS = 0;

/** Wraps `exporter`; what else it can do stays as it is. */
export function quietExporter<T, E extends Exporter<T>>(
  exporter: E,
  about: { readonly what: string; readonly url: string; readonly log: Log },
): E {
  const { what, log } = about;
  const url = withoutCredentials(about.url);
  let lost = 0;
  const heard = (result: ExportResult): void => {
    if (result.code === SUCCESS) {
      if (lost > 0) log.info(`${what} are exported again`, { url, batchesLost: lost });
      lost = 0;
      return;
    }
    lost += 1;
    if (lost > 1) return;
    log.warn(`${what} cannot be exported; the run goes on without`, { url, err: result.error });
  };
  const ignore = (reason: unknown): void =>
    heard({ code: 1, ...(reason instanceof Error ? { error: reason } : {}) });
  return new Proxy(exporter, {
    get(target, name) {
      if (name === "export") {
        return (items: T, done: (result: ExportResult) => void): void =>
          target.export(items, (result) => {
            heard(result);
            done({ code: SUCCESS });
          });
      }
      if (name === "shutdown") return () => target.shutdown().catch(ignore);
      if (name === "forceFlush") return () => target.forceFlush?.().catch(ignore) ?? Promise.resolve();
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
