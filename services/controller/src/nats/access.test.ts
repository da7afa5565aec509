/** What the controller knows of a run's message server: its address, also out of a Secret, and files. The API server is a table. */
import { existsSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { KubeError, type KubeClient } from "@oarlock/kube";
import type { RunSpec } from "@oarlock/runfile";
import { createPlanner } from "../planner.ts";
import { newWorld } from "../world.ts";
import { createNatsAccess, type NatsSettings, type WithNats } from "./access.ts";

const { signal } = new AbortController();
const URL_SECRET = { nats: { urlSecretRef: { name: "nats", key: "url" } } } as const;
const SECRET = { url: "nats://me:s3cret@a", "ca.crt": "CA", empty: "" };

/** Of a controller that may read this Secret; undefined: none is there. */
function access(secret: Readonly<Record<string, string>> | undefined, natsUrl?: string): WithNats {
  const data = Object.entries(secret ?? {}).map(([key, text]) => [key, Buffer.from(text).toString("base64")]);
  const get = async () => (secret === undefined ? undefined : { data: Object.fromEntries(data) });
  // Only what it needs of it.
  const client = { get } as unknown as KubeClient;
  return createNatsAccess({ client, namespace: "oarlock-system", natsUrl });
}

const asked = (withNats: WithNats, spec: Partial<RunSpec>): Promise<NatsSettings> =>
  withNats(newWorld(spec).run, signal, async (settings) => settings);

it.each([
  ["none", {}, undefined, {}],
  ["the controller's", {}, "nats://c", { NATS_URL: "nats://c" }],
  ["the run's", { nats: { url: "nats://r" } }, "nats://c", { NATS_URL: "nats://r" }],
  ["what a Secret says", URL_SECRET, "nats://c", { NATS_URL: SECRET.url }],
  ["no other's where the run brings its own", { nats: { managed: {} } }, "nats://c", {}],
] as const)("is %s", async (_, spec, natsUrl, settings) => {
  expect(await asked(access(SECRET, natsUrl), spec)).toEqual(settings);
});

it("holds files while they are used", async () => {
  const spec = { nats: { ...URL_SECRET.nats, tls: { secretName: "nats" } } };
  const file = await access(SECRET)(newWorld(spec).run, signal, async ({ NATS_CA = "", ...others }) => {
    expect(readFileSync(NATS_CA, "utf8")).toBe("CA");
    expect(others).toEqual({ NATS_URL: SECRET.url });
    return NATS_CA;
  });
  expect(existsSync(file)).toBe(false);
});

it("says which right it lacks, or what the Secret lacks, and nothing of what is in it", async () => {
  const get = async () => {
    throw new KubeError("KUBE_REFUSED", 'secrets "nats" is forbidden', { status: 403, retryable: false });
  };
  const client = { get } as unknown as KubeClient;
  const shut = createNatsAccess({ client, namespace: "oarlock-system", natsUrl: undefined });
  const keyed = (key: string) => ({ nats: { urlSecretRef: { name: "nats", key } } });
  const cases = [
    [shut, "url", /kubectl -n team create role oarlock-nats --verb=get .*--resource-name=nats && kubectl/],
    [access(undefined), "url", /Secret nats does not exist/],
    [access(SECRET), "uri", /Secret nats holds no uri/],
    [access(SECRET), "empty", /Secret nats holds no empty/],
  ] as const;
  for (const [withNats, key, words] of cases) {
    const refusal = asked(withNats, keyed(key));
    await expect(refusal).rejects.toMatchObject({
      code: "NATS_SECRET_UNUSABLE",
      message: expect.stringMatching(words),
    });
    await expect(refusal).rejects.not.toThrow(/s3cret/);
  }
});

it("is what bundles are planned with, and what they wait for", async () => {
  const script =
    "const { NATS_URL, OARLOCK_UID } = process.env; console.log(JSON.stringify({ digest: `${NATS_URL} ${OARLOCK_UID}` }))";
  const from = `bundle://sha256-${"0a".repeat(32)}/model`;
  const world = newWorld({ ...URL_SECRET, model: { from } });
  const seen = {
    run: world.run,
    pods: [],
    children: new Map(),
    settings: { image: "i", natsUrl: undefined, natsImage: "n", namespace: "o" },
    cleans: true,
    nowMs: 0,
  };
  const planner = (withNats: WithNats) =>
    createPlanner({ command: [process.execPath, "-e", script], withNats, configMap: async () => undefined });
  expect(await planner(access(SECRET))(seen, signal)).toMatchObject({
    type: "planned",
    digest: `${SECRET.url} ${world.run.metadata.uid}`,
  });
  expect(await planner(access(undefined))(seen, signal)).toEqual({
    type: "waiting",
    message: "Secret nats does not exist in the run's namespace",
  });
});
