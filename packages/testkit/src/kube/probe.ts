/** Readiness probes of the test kubelet: gRPC and HTTP, as a kubelet asks. */
import { get } from "node:http";
import { isServing } from "./grpc-health.ts";
import type { KubeContainer } from "./pod-spec.ts";

const TIMEOUT_MS = 2_000;

/** Asks whether the container at an address serves; undefined where it has no probe that is known here. */
export function readinessOf(container: KubeContainer): ((podIp: string) => Promise<boolean>) | undefined {
  const { grpc, httpGet } = container.readinessProbe ?? {};
  if (grpc !== undefined) return (podIp) => isServing(podIp, grpc.port);
  if (httpGet === undefined) return undefined;
  const named = container.ports?.find(({ name }) => name === httpGet.port)?.containerPort;
  const port = named ?? Number(httpGet.port);
  return (podIp) => answers({ host: podIp, port, path: httpGet.path });
}

function answers(options: {
  readonly host: string;
  readonly port: number;
  readonly path: string;
}): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get({ ...options, timeout: TIMEOUT_MS, agent: false }, (response) => {
      response.resume();
      const { statusCode = 0 } = response;
      resolve(statusCode >= 200 && statusCode < 400);
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(false));
  });
}
