/** The requests that controllers make, over plain objects. `http-client.ts` sends them; tests may stand in between. */
import type { KubeObject, ObjectRef, Resource } from "./object.ts";

/** A list and the version that it was read at. */
export interface ListResult<T> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
}

export interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: unknown;
}

export interface ListOptions {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly signal?: AbortSignal;
}

export interface WatchOptions extends ListOptions {
  readonly resourceVersion: string;
  /** The server ends the watch after this long; whoever watches begins again. */
  readonly timeoutSeconds: number;
  readonly signal: AbortSignal;
}

export interface WriteOptions {
  readonly signal?: AbortSignal;
  readonly subresource?: "status" | "scale";
}

export interface ApplyOptions extends WriteOptions {
  /** Who applies: fields that this manager leaves out of its next apply are taken back. */
  readonly fieldManager: string;
}

export interface DeleteOptions {
  readonly signal?: AbortSignal;
  /** Refuse where the object is another one of the same name. */
  readonly uid?: string;
  readonly propagation?: "Background" | "Foreground";
}

/** An object in an apply: what is left out is not this manager's. */
export type Applied = Pick<KubeObject, "apiVersion" | "kind"> & {
  readonly metadata: { readonly name: string; readonly namespace?: string };
};

export interface KubeClient {
  /** Undefined where there is no such object. */
  get<T extends KubeObject>(resource: Resource, ref: ObjectRef, signal?: AbortSignal): Promise<T | undefined>;
  list<T extends KubeObject>(resource: Resource, options?: ListOptions): Promise<ListResult<T>>;
  watch(resource: Resource, options: WatchOptions): AsyncIterable<WatchEvent>;
  create<T extends KubeObject>(resource: Resource, object: T, options?: WriteOptions): Promise<T>;
  /** Replaces an object; refused (409) where its resource version is not the newest. */
  replace<T extends KubeObject>(resource: Resource, object: T, options?: WriteOptions): Promise<T>;
  /** Server-side apply; conflicts with other managers are taken over. */
  apply<T extends KubeObject>(resource: Resource, object: Applied, options: ApplyOptions): Promise<T>;
  /** JSON merge patch. */
  merge<T extends KubeObject>(
    resource: Resource,
    ref: ObjectRef,
    patch: object,
    options?: WriteOptions,
  ): Promise<T>;
  /** False where there was none. */
  remove(resource: Resource, ref: ObjectRef, options?: DeleteOptions): Promise<boolean>;
}
