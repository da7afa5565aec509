/**
 * `KubeClient` over HTTPS with plain JSON: nothing is dropped or renamed on the way. Every request has a deadline (L1); a
 * watch ends when nothing at all comes for longer than the server was told to keep it.
 */
import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import { createInterface } from "node:readline";
import { abortReason, waitFor } from "@oarlock/runtime";
import { apiError, isStatus, noAnswer } from "./api-error.ts";
import type { KubeClient, ListResult, WatchEvent } from "./client.ts";
import type { Connection } from "./connection.ts";
import type { RequestMade } from "./metrics.ts";
import { collectionPath, type KubeObject, objectPath } from "./object.ts";

const REQUEST_TIMEOUT_MS = 30_000;
/** A watch that is silent this much longer than its timeout has lost its connection. */
const WATCH_SLACK_MS = 10_000;
const PAGE = 500;

const JSON_TYPE = "application/json";
const APPLY_TYPE = "application/apply-patch+yaml";
const MERGE_TYPE = "application/merge-patch+json";

interface Call {
  readonly method: string;
  readonly path: string;
  readonly body?: object | undefined;
  readonly contentType?: string;
  readonly signal?: AbortSignal | undefined;
}

/** Sends a request; gives its answer once that begins. */
type Send = (given: Call, signal: AbortSignal) => Promise<IncomingMessage>;

/** A client over one connection; `onRequest` is told of every request when its answer begins, for metrics. */
export function createHttpClient(
  connection: Connection,
  onRequest: (made: RequestMade) => void = () => undefined,
): KubeClient {
  const send = createSender(connection, onRequest);
  const call = async <T>(given: Call): Promise<T> => {
    const what = `${given.method} ${given.path}`;
    const wait = {
      timeoutMs: REQUEST_TIMEOUT_MS,
      ...(given.signal === undefined ? {} : { signal: given.signal }),
    };
    const text = await waitFor(what, async (signal) => readAnswer(what, await send(given, signal)), wait);
    // What the API server answers to a request of this kind; its schema is the server's to keep.
    return JSON.parse(text) as T;
  };
  return {
    async get(resource, ref, signal) {
      try {
        return await call({ method: "GET", path: objectPath(resource, ref), signal });
      } catch (reason) {
        if (isStatus(reason, 404)) return undefined;
        throw reason;
      }
    },
    list: (resource, options = {}) => listAll(call, collectionPath(resource, options.namespace), options),
    async *watch(resource, { namespace, labelSelector, resourceVersion, timeoutSeconds, signal }) {
      const query = new URLSearchParams({
        watch: "true",
        allowWatchBookmarks: "true",
        resourceVersion,
        timeoutSeconds: String(timeoutSeconds),
        ...(labelSelector === undefined ? {} : { labelSelector }),
      });
      const path = `${collectionPath(resource, namespace)}?${query.toString()}`;
      yield* watchLines(send, path, timeoutSeconds * 1000 + WATCH_SLACK_MS, signal);
    },
    create: (resource, object, { signal } = {}) =>
      call({
        method: "POST",
        path: collectionPath(resource, object.metadata.namespace),
        body: object,
        signal,
      }),
    replace: (resource, object, { subresource, signal } = {}) =>
      call({ method: "PUT", path: objectPath(resource, refTo(object), subresource), body: object, signal }),
    apply(resource, object, { fieldManager, subresource, signal }) {
      const query = new URLSearchParams({ fieldManager, force: "true" });
      const path = `${objectPath(resource, refTo(object), subresource)}?${query.toString()}`;
      return call({ method: "PATCH", path, body: object, contentType: APPLY_TYPE, signal });
    },
    merge: (resource, ref, patch, { subresource, signal } = {}) =>
      call({
        method: "PATCH",
        path: objectPath(resource, ref, subresource),
        body: patch,
        contentType: MERGE_TYPE,
        signal,
      }),
    async remove(resource, ref, { signal, uid, propagation = "Background" } = {}) {
      const preconditions = uid === undefined ? {} : { preconditions: { uid } };
      const body = { propagationPolicy: propagation, ...preconditions };
      try {
        await call({ method: "DELETE", path: objectPath(resource, ref), body, signal });
        return true;
      } catch (reason) {
        if (isStatus(reason, 404)) return false;
        throw reason;
      }
    },
  };
}

function refTo({ metadata }: { readonly metadata: { readonly name: string; readonly namespace?: string } }): {
  namespace: string;
  name: string;
} {
  return { namespace: metadata.namespace ?? "default", name: metadata.name };
}

function createSender(connection: Connection, onRequest: (made: RequestMade) => void): Send {
  const { host } = new URL(connection.url);
  return async (given, signal) => {
    const { method } = given;
    try {
      const response = await begin(connection, given, signal);
      onRequest({ method, code: String(response.statusCode ?? 0), host });
      return response;
    } catch (reason) {
      onRequest({ method, code: "<error>", host });
      throw reason;
    }
  };
}

async function begin(
  connection: Connection,
  { method, path, body, contentType = JSON_TYPE }: Call,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const { headers, ...options } = await connection.options();
  const text = body === undefined ? undefined : JSON.stringify(body);
  const length = text === undefined ? {} : { "content-length": Buffer.byteLength(text) };
  return new Promise((resolve, reject) => {
    const sent = request(
      connection.url + path,
      {
        ...options,
        method,
        signal,
        headers: { ...headers, accept: JSON_TYPE, "content-type": contentType, ...length },
      },
      resolve,
    );
    sent.on("error", (cause) =>
      reject(signal.aborted ? abortReason(signal) : noAnswer(`${method} ${path}`, cause)),
    );
    sent.end(text);
  });
}

async function readAnswer(what: string, response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of response) if (Buffer.isBuffer(chunk)) chunks.push(chunk);
  } catch (cause) {
    throw noAnswer(what, cause);
  }
  const body = Buffer.concat(chunks).toString();
  const status = response.statusCode ?? 0;
  if (status >= 300) throw apiError(what, { status, body, retryAfter: response.headers["retry-after"] });
  return body;
}

interface Page<T> {
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
  readonly items: readonly T[];
}

async function listAll<T extends KubeObject>(
  call: <A>(given: Call) => Promise<A>,
  path: string,
  { labelSelector, signal }: { readonly labelSelector?: string; readonly signal?: AbortSignal },
): Promise<ListResult<T>> {
  const items: T[] = [];
  let from = "";
  for (;;) {
    const query = new URLSearchParams({
      limit: String(PAGE),
      ...(labelSelector === undefined ? {} : { labelSelector }),
      ...(from === "" ? {} : { continue: from }),
    });
    const page = await call<Page<T>>({ method: "GET", path: `${path}?${query.toString()}`, signal });
    items.push(...page.items);
    from = page.metadata.continue ?? "";
    if (from === "") return { items, resourceVersion: page.metadata.resourceVersion };
  }
}

async function* watchLines(
  send: Send,
  path: string,
  silenceMs: number,
  signal: AbortSignal,
): AsyncGenerator<WatchEvent> {
  const what = `WATCH ${path}`;
  const response = await waitFor(what, (inner) => send({ method: "GET", path }, either(inner)), {
    timeoutMs: REQUEST_TIMEOUT_MS,
    signal,
  });
  if ((response.statusCode ?? 0) >= 300) await readAnswer(what, response);
  response.setTimeout(silenceMs, () => response.destroy(noAnswer(what, "silence")));
  try {
    for await (const line of createInterface(response)) if (line !== "") yield JSON.parse(line) as WatchEvent;
  } catch (cause) {
    if (!signal.aborted) throw noAnswer(what, cause);
  } finally {
    response.destroy();
  }

  /** The inner signal ends with the wait for the headers; the body lives as long as the watch. */
  function either(inner: AbortSignal): AbortSignal {
    return AbortSignal.any([inner, signal]);
  }
}
