import { expect, it } from "vitest";
import { readControllerConfig } from "./config.ts";

it("gives pods the addresses that it was told", () => {
  const environment = { OARLOCK_NATS_URL: "nats://a,nats://b", OARLOCK_OTLP_ENDPOINT: "http://c:4318" };
  const { children } = readControllerConfig(environment);
  expect(children).toMatchObject({ natsUrl: "nats://a,nats://b", otlpEndpoint: "http://c:4318" });
});

it.each([
  ["OARLOCK_NATS_URL", "nats://me:s3cret@a", "spec.nats.urlSecretRef"],
  ["OARLOCK_OTLP_ENDPOINT", "http://me:s3cret@c:4318", "collector"],
])("X1: refuses a password in %s: every pod would show it", (name, value, where) => {
  expect(() => readControllerConfig({ [name]: value })).toThrow(
    new RegExp(`^\\[SETTING_INVALID\\] environment variable ${name} .*${where}`),
  );
  expect(() => readControllerConfig({ [name]: value })).not.toThrow(/s3cret/);
});
