/** A local HTTP server that plays the hub for one repository: enough of its API for the real client. */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

/** The one commit of the repository. */
export const HUB_COMMIT = "0123456789abcdef0123456789abcdef01234567";

export interface FakeHub {
  readonly endpoint: string;
  /** "GET path [range]" of each request, in order. */
  readonly requests: string[];
  /** `Authorization` of each request. */
  readonly tokens: (string | undefined)[];
  /** Paths of files whose next download is cut after this many bytes. */
  readonly cuts: Map<string, number>;
  /** Paths of files that are served with another content than is listed. */
  readonly corrupt: Set<string>;
}

export interface FakeHubOptions {
  readonly files: ReadonlyMap<string, Buffer>;
  readonly type?: "models" | "datasets";
  /** Requests without this token are refused. */
  readonly token?: string;
  /** What the hub has read in the head of the repository's card. */
  readonly card?: object;
}

/** Serves `org/name` at branch "main" and tag "v1", both at `HUB_COMMIT`, until the test ends. */
export async function startFakeHub({
  files,
  type = "models",
  token,
  card,
}: FakeHubOptions): Promise<FakeHub> {
  const hub = {
    requests: [] as string[],
    tokens: [] as (string | undefined)[],
    cuts: new Map<string, number>(),
    corrupt: new Set<string>(),
  };
  const info = { ...INFO, ...(card && { cardData: card }) };
  const prefix = type === "models" ? "" : "/datasets";
  const server = createServer((request, response) => {
    const path = (request.url ?? "").replace(/\?.*/, "");
    hub.requests.push(`${request.method} ${path} ${request.headers.range ?? ""}`.trim());
    hub.tokens.push(request.headers.authorization);
    if (token !== undefined && request.headers.authorization !== `Bearer ${token}`)
      return fail(response, 401, "Unauthorized");
    const revision = new RegExp(`^/api/${type}/org/name/revision/(main|v1|${HUB_COMMIT})$`).exec(path);
    if (revision !== null) return json(response, info);
    if (path === `/api/${type}/org/name/tree/${HUB_COMMIT}`) return json(response, listing(files));
    const name = path.startsWith(`${prefix}/org/name/resolve/${HUB_COMMIT}/`)
      ? path.slice(`${prefix}/org/name/resolve/${HUB_COMMIT}/`.length)
      : "";
    const file = files.get(name);
    if (file === undefined) return fail(response, 404, "Repository not found");
    const served = hub.corrupt.has(name) ? Buffer.from(file).fill(0, file.length - 1) : file;
    sendRange(request, response, { file: served, cut: hub.cuts.get(name) });
    if (!request.headers.range?.endsWith("=0-0")) hub.cuts.delete(name);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { ...hub, endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/** Of the repository, as the hub's client wants it. */
const INFO = { _id: "1", id: "org/name", sha: HUB_COMMIT, likes: 0, downloads: 0, private: false };

const listing = (files: ReadonlyMap<string, Buffer>): object[] =>
  [...files].map(([path, content]) => {
    const oid = createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
    const sha256 = createHash("sha256").update(content).digest("hex");
    const large = path.endsWith(".safetensors")
      ? { lfs: { oid: sha256, size: content.length, pointerSize: 130 } }
      : {};
    return { type: "file", path, size: content.length, oid, ...large };
  });

function sendRange(
  request: IncomingMessage,
  response: ServerResponse,
  { file, cut }: { readonly file: Buffer; readonly cut: number | undefined },
): void {
  const [, from, to] = /bytes=(\d+)-(\d*)/.exec(request.headers.range ?? "") ?? [];
  const start = Number(from ?? 0);
  const end = to ? Math.min(Number(to), file.length - 1) : file.length - 1;
  const part = file.subarray(start, end + 1);
  response.writeHead(from === undefined ? 200 : 206, {
    etag: '"x"',
    "content-length": part.length,
    ...(from === undefined ? {} : { "content-range": `bytes ${start}-${end}/${file.length}` }),
  });
  if (cut === undefined || part.length <= cut) return void response.end(part);
  response.write(part.subarray(0, cut), () => setTimeout(() => response.destroy(), 20));
}

const json = (response: ServerResponse, body: unknown): void => {
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
};
const fail = (response: ServerResponse, status: number, error: string): void => {
  response.writeHead(status, { "content-type": "application/json", "x-error-code": "RepoNotFound" });
  response.end(JSON.stringify({ error }));
};
