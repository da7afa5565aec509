/** Plain requests to an API server, for tests and the test kubelet: they need no client library to agree with. */
import type { IncomingMessage } from "node:http";
import { Agent, request } from "node:https";
import { createInterface } from "node:readline";

export interface ApiResponse<T> {
  readonly code: number;
  readonly body: T;
}

export interface ApiRequestOptions {
  readonly body?: unknown;
  /** Default application/json. */
  readonly contentType?: string;
}

export interface WatchEvent<T> {
  readonly type: string;
  readonly object: T;
}

/** Requests as one user. */
export interface Api {
  request<T>(method: string, path: string, options?: ApiRequestOptions): Promise<ApiResponse<T>>;
  /** Events from a watch path until the signal aborts or the server ends it. */
  watch<T>(path: string, signal: AbortSignal): AsyncIterable<WatchEvent<T>>;
  close(): void;
}

export interface ApiOptions {
  readonly url: string;
  readonly certificate: string;
  readonly token: string;
}

/** Requests with a bearer token. */
export function createApi({ url, certificate, token }: ApiOptions): Api {
  const agent = new Agent({ keepAlive: true, maxSockets: 16, ca: certificate });
  const send = (
    method: string,
    path: string,
    { body, contentType = "application/json" }: ApiRequestOptions & { readonly signal?: AbortSignal },
    signal?: AbortSignal,
  ): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const text = body === undefined ? "" : JSON.stringify(body);
      const headers = {
        authorization: `Bearer ${token}`,
        "content-type": contentType,
        // Without it Node sends the body of a DELETE as the start of the next request.
        "content-length": Buffer.byteLength(text),
      };
      const options = { method, agent, headers, ...(signal === undefined ? {} : { signal }) };
      const sent = request(url + path, options, resolve);
      sent.on("error", reject);
      sent.end(text);
    });
  return {
    async request<T>(method: string, path: string, options: ApiRequestOptions = {}) {
      const response = await send(method, path, options);
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk as Buffer);
      const text = Buffer.concat(chunks).toString();
      return { code: response.statusCode ?? 0, body: (text === "" ? undefined : JSON.parse(text)) as T };
    },
    async *watch<T>(path: string, signal: AbortSignal) {
      const response = await send("GET", path, {}, signal);
      if (response.statusCode !== 200) {
        response.resume();
        throw new Error(`GET ${path}: ${response.statusCode} ${response.statusMessage}`);
      }
      for await (const line of createInterface(response)) yield JSON.parse(line) as WatchEvent<T>;
    },
    close: () => agent.destroy(),
  };
}
