import { describe, expect, it } from "vitest";
import { isOn, readTelemetrySettings } from "./settings.ts";

describe("readTelemetrySettings", () => {
  it.each([
    [{}],
    [{ OTEL_SERVICE_NAME: "x", OTEL_TRACES_SAMPLER: "always_on" }],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: "" }],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: "http://a:4318", OTEL_TRACES_EXPORTER: "none" }],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: "http://a:4318", OTEL_SDK_DISABLED: "true" }],
  ])("is off by %j", (environment) => {
    expect(isOn(readTelemetrySettings(environment))).toBe(false);
  });

  it("sends traces to an endpoint, and metrics only where they are asked for", () => {
    const { traces, push, pull } = readTelemetrySettings({
      OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318/",
      OTEL_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20abc,x-team=rl",
    });
    expect(traces).toMatchObject({
      url: "http://collector:4318/v1/traces",
      headers: { authorization: "Bearer abc", "x-team": "rl" },
      sampler: "parentbased_always_on",
      ratio: 1,
    });
    // A step has a link to every group of its batch.
    expect(traces?.maxLinks).toBeGreaterThan(10_000);
    expect([push, pull]).toEqual([undefined, undefined]);
  });

  it("prefers a signal's own variables", () => {
    const { traces, push } = readTelemetrySettings({
      OTEL_EXPORTER_OTLP_ENDPOINT: "http://a:1",
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "https://b/own/path",
      OTEL_EXPORTER_OTLP_TIMEOUT: "7",
      OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: "9",
      OTEL_METRICS_EXPORTER: "otlp",
    });
    expect(traces).toMatchObject({ url: "https://b/own/path", timeoutMs: 9 });
    expect(push).toMatchObject({ url: "http://a:1/v1/metrics", timeoutMs: 7, intervalMs: 60_000 });
  });

  it("serves metrics on loopback where a port is given", () => {
    expect(readTelemetrySettings({ OARLOCK_METRICS_PORT: "9464" }).pull).toEqual({
      host: "127.0.0.1",
      port: 9464,
    });
  });

  it("reads resource attributes; the service's name wins", () => {
    const { resource } = readTelemetrySettings({
      OTEL_RESOURCE_ATTRIBUTES: "k8s.pod.name=actor-7, service.name=old,note=100%",
      OTEL_SERVICE_NAME: "mine",
    });
    expect(resource).toEqual({ "k8s.pod.name": "actor-7", "service.name": "mine", note: "100%" });
  });

  it.each([
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "http"],
    ["OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"],
    ["OTEL_TRACES_SAMPLER_ARG", "1.5", "from 0 to 1"],
    ["OTEL_TRACES_SAMPLER", "jaeger_remote", "parentbased_traceidratio"],
    ["OTEL_TRACES_EXPORTER", "zipkin", "otlp, none"],
    ["OARLOCK_METRICS_PORT", "http", "a whole number"],
  ])("X1: names %s=%s and what is accepted", (name, value, accepted) => {
    const environment = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://a:4318", [name]: value };
    expect(() => readTelemetrySettings(environment)).toThrow(new RegExp(`${name}="${value}".*${accepted}`));
  });

  it.each([
    ["OTEL_EXPORTER_OTLP_HEADERS", "authorization: Bearer s3cret", "name=value"],
    ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://me:s3cret@a", "http"],
  ])("X1: names %s and what is accepted, and shows no secret", (name, value, accepted) => {
    const environment = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://a:4318", [name]: value };
    expect(() => readTelemetrySettings(environment)).toThrow(
      new RegExp(`${name}=.*; accepted: .*${accepted}`),
    );
    expect(() => readTelemetrySettings(environment)).not.toThrow(/s3cret/);
  });
});
