/**
 * A small external-metrics API for one number, aggregated by the real API server: what HPA reads where KEDA or an adapter for
 * Prometheus would answer.
 */
import { createServer, type Server } from "node:https";
import type { ControlPlane } from "@oarlock/testkit";

const GROUP = "external.metrics.k8s.io";
const VERSION = "v1beta1";

export interface ExternalMetrics {
  /** How often the metric was asked for. */
  readonly asked: () => number;
  close(): void;
}

/** Serves `value` as the metric `name` of every namespace, and has the API server ask here. */
export async function serveExternalMetrics(
  plane: ControlPlane,
  name: string,
  value: () => Promise<number>,
): Promise<ExternalMetrics> {
  let asked = 0;
  const answer = async (path: string): Promise<object | undefined> => {
    if (path === `/apis/${GROUP}/${VERSION}`) return discovery(name);
    if (!path.startsWith(`/apis/${GROUP}/${VERSION}/namespaces/`) || !path.endsWith(`/${name}`))
      return undefined;
    asked++;
    return list(name, await value());
  };
  const server = createServer({ key: plane.key, cert: plane.certificate }, (request, response) => {
    void answer(new URL(request.url ?? "", "https://here").pathname).then((body) =>
      response
        .writeHead(body === undefined ? 404 : 200, { "content-type": "application/json" })
        .end(JSON.stringify(body ?? {})),
    );
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const input = JSON.stringify(registration(portOf(server)));
  const { code, stderr } = await plane.kubectl(["apply", "-f", "-"], { input });
  if (code !== 0) throw new Error(stderr);
  return {
    asked: () => asked,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

function portOf(server: Server): number {
  const address = server.address();
  return address === null || typeof address === "string" ? 0 : address.port;
}

function discovery(name: string): object {
  const resource = {
    name,
    singularName: "",
    namespaced: true,
    kind: "ExternalMetricValueList",
    verbs: ["get"],
  };
  return {
    kind: "APIResourceList",
    apiVersion: "v1",
    groupVersion: `${GROUP}/${VERSION}`,
    resources: [resource],
  };
}

function list(metricName: string, value: number): object {
  const item = { metricName, metricLabels: {}, timestamp: new Date().toISOString(), value: String(value) };
  return { kind: "ExternalMetricValueList", apiVersion: `${GROUP}/${VERSION}`, metadata: {}, items: [item] };
}

/** An external name, since endpoints may not be loopback addresses. */
function registration(port: number): object {
  const service = { name: "external-metrics", namespace: "default" };
  return {
    apiVersion: "v1",
    kind: "List",
    items: [
      {
        apiVersion: "v1",
        kind: "Service",
        metadata: service,
        spec: { type: "ExternalName", externalName: "localhost", ports: [{ port }] },
      },
      {
        apiVersion: "apiregistration.k8s.io/v1",
        kind: "APIService",
        metadata: { name: `${VERSION}.${GROUP}` },
        spec: {
          group: GROUP,
          version: VERSION,
          service: { ...service, port },
          insecureSkipTLSVerify: true,
          groupPriorityMinimum: 100,
          versionPriority: 100,
        },
      },
    ],
  };
}
