/** The controller's pages: alive, ready, metrics. */
import { createServer, type Server } from "node:http";

export interface Pages {
  /** Whether the views are whole. */
  ready(): boolean;
  metrics(): string;
}

export interface PageServer {
  /** `host:port` */
  readonly address: string;
  close(): Promise<void>;
}

/** Serves them. */
export async function servePages(
  pages: Pages,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<PageServer> {
  const answers: Readonly<Record<string, () => [number, string]>> = {
    "/healthz": () => [200, "ok\n"],
    "/readyz": () => (pages.ready() ? [200, "ok\n"] : [503, "views are being read\n"]),
    "/metrics": () => [200, pages.metrics()],
  };
  const server = createServer((request, response) => {
    const [status, text] = answers[request.url ?? ""]?.() ?? [404, "not found\n"];
    response.writeHead(status, { "content-type": "text/plain; version=0.0.4" }).end(text);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  return { address: addressOf(server), close: () => closeServer(server) };
}

function addressOf(server: Server): string {
  const address = server.address();
  return address === null || typeof address === "string" ? "" : `${address.address}:${address.port}`;
}

function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}
