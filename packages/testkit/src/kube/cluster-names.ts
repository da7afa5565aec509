/**
 * Names of Services for pods that are processes: a small server that answers with the pods that a Service selects, as a cluster's
 * DNS does for headless ones, and a preload that has Node programs ask it for names that end with `.svc`. It does not use
 * EndpointSlices: they take no loopback addresses.
 */
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import type { Api } from "./api.ts";
import { freePort } from "./process.ts";

export interface ClusterNames {
  /** Environment of a pod whose program may be one of Node. */
  readonly environment: Readonly<Record<string, string>>;
  close(): void;
}

interface Service {
  readonly spec?: { readonly selector?: Readonly<Record<string, string>> };
}

interface Pods {
  readonly items: readonly {
    readonly status?: {
      readonly podIP?: string;
      readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    };
  }[];
}

/** Serves the names of a cluster; the preload is written into the folder. */
export async function serveClusterNames(api: Api, folder: string): Promise<ClusterNames> {
  const port = await freePort();
  const server = createServer((request, response) => {
    const name = decodeURIComponent((request.url ?? "").slice(1));
    void addressesOf(api, name).then(
      (found) => response.end(JSON.stringify(found)),
      () => response.end("[]"),
    );
  });
  await new Promise<void>((done) => server.listen(port, "127.0.0.1", done));
  const file = join(folder, "cluster-names.cjs");
  writeFileSync(file, PRELOAD.replace("PORT", String(port)));
  return {
    environment: { NODE_OPTIONS: `--require ${file}` },
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function addressesOf(api: Api, name: string): Promise<readonly string[]> {
  const [, service, namespace] = /^([^.]+)\.([^.]+)\.svc(\.cluster\.local)?$/.exec(name) ?? [];
  if (service === undefined) return [];
  const home = `/api/v1/namespaces/${namespace}`;
  const { body: found } = await api.request<Service>("GET", `${home}/services/${service}`);
  const labels = Object.entries(found.spec?.selector ?? {}).map(([key, value]) => `${key}=${value}`);
  if (labels.length === 0) return [];
  const selector = `labelSelector=${encodeURIComponent(labels.join(","))}`;
  const { body } = await api.request<Pods>("GET", `${home}/pods?${selector}`);
  return body.items.flatMap(({ status }) => {
    const ready = status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True");
    return status?.podIP === undefined || ready !== true ? [] : [status.podIP];
  });
}

/** All of Node's clients look names up through `dns.lookup`. */
const PRELOAD = `const dns = require("node:dns");
const http = require("node:http");
const lookup = dns.lookup;
dns.lookup = (name, options, callback) => {
  const done = typeof options === "function" ? options : callback;
  if (!/\\.svc(\\.cluster\\.local)?$/.test(name)) return lookup(name, options, callback);
  const all = typeof options === "object" && options.all === true;
  const fail = () => done(Object.assign(new Error("no address of " + name), { code: "ENOTFOUND" }));
  const asked = http.get({ host: "127.0.0.1", port: PORT, path: "/" + encodeURIComponent(name) }, (response) => {
    let text = "";
    response.on("data", (data) => (text += data)).on("end", () => {
      const found = JSON.parse(text).map((address) => ({ address, family: 4 }));
      if (found.length === 0) fail();
      else if (all) done(null, found);
      else done(null, found[0].address, 4);
    });
  });
  asked.on("error", fail);
};
`;
