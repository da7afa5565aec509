/**
 * `/metrics` for Prometheus: OpenTelemetry's exposition with the unit in the name (`_seconds`, `_bytes`, `_ratio`), as its
 * specification and the Collector have it, so that one query works on both.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import {
  DataPointType,
  type MetricData,
  type MetricReader,
  type ResourceMetrics,
} from "@opentelemetry/sdk-metrics";
import { OarlockError } from "@oarlock/errors";
import type { Log } from "@oarlock/runtime";
import { nameWithUnit, unitName } from "./metric-names.ts";
import type { PullSettings } from "./settings.ts";

export interface PrometheusEndpoint {
  readonly reader: MetricReader;
  readonly url: string;
  close(): Promise<void>;
}

const CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** Serves until closed. Throws `METRICS_BIND_FAILED`. */
export async function servePrometheus({ host, port }: PullSettings, log: Log): Promise<PrometheusEndpoint> {
  const reader = new PrometheusExporter({ preventServerStart: true });
  const serializer = new PrometheusSerializer(undefined, false, undefined, true, true);
  const answer = async (): Promise<string> => {
    const { resourceMetrics, errors } = await reader.collect();
    if (errors.length > 0) log.warn("some metrics could not be read", { err: errors[0] });
    return serializer.serialize(namedByUnit(resourceMetrics));
  };
  const server = createServer((request, response) => {
    if (request.url?.replace(/\?.*/, "") !== "/metrics") {
      response.writeHead(404, { "content-type": "text/plain" }).end("metrics are at /metrics\n");
      return;
    }
    answer().then(
      (text) => response.writeHead(200, { "content-type": CONTENT_TYPE }).end(`${text}`),
      (reason: unknown) => {
        log.warn("metrics could not be collected", { err: reason });
        response.writeHead(500, { "content-type": "text/plain" }).end("metrics could not be collected\n");
      },
    );
  });
  const bound = await listen(server, host, port);
  const authority = host.includes(":") ? `[${host}]` : host;
  // A scrape between two runs must not keep the process alive.
  server.unref();
  return { reader, url: `http://${authority}:${bound}/metrics`, close: () => closed(server) };
}

async function listen(server: Server, host: string, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) =>
      reject(new OarlockError("METRICS_BIND_FAILED", `cannot serve metrics on ${host}:${port}`, { cause })),
    );
    server.listen(port, host, resolve);
  });
  return (server.address() as AddressInfo).port; // bound to a host and port: never a pipe's name
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

function namedByUnit(metrics: ResourceMetrics): ResourceMetrics {
  const scopeMetrics = metrics.scopeMetrics.map((scope) => ({
    ...scope,
    metrics: scope.metrics.map(renamed),
  }));
  return { ...metrics, scopeMetrics };
}

function renamed(metric: MetricData): MetricData {
  const { descriptor, dataPointType } = metric;
  const kind = dataPointType === DataPointType.GAUGE ? "gauge" : "counter"; // only gauges have a ratio for a unit
  const name = nameWithUnit(descriptor.name, descriptor.unit, kind);
  return { ...metric, descriptor: { ...descriptor, name, unit: unitName(descriptor.unit, kind) } };
}
