/** Certificates of runs: who makes them, when they are renewed, what pods see of them. The API server is a table. */
import { X509Certificate } from "node:crypto";
import { expect, it } from "vitest";
import { type Identity, openAuthority } from "@oarlock/certificates";
import { type Applied, KubeError, type KubeClient, type KubeObject } from "@oarlock/kube";
import type { RunSpec } from "@oarlock/runfile";
import type { Observed } from "../observed.ts";
import { newWorld, running, servingPod, type World } from "../world.ts";
import { createIdentities } from "./identities.ts";
import type { SecretObject } from "../secrets.ts";
import type { TlsState } from "./state.ts";

const DAY_MS = 86_400_000;
const security = (tls: object): Partial<RunSpec> => ({
  security: { tls } as NonNullable<RunSpec["security"]>,
});
const RUN_CA = security({ type: "runCA", runCA: { validDays: 30 } });

interface Api {
  readonly client: KubeClient;
  readonly objects: Map<string, KubeObject>;
  /** What `get` refuses. */
  readonly forbidden: Set<string>;
}

/** Objects by `Kind namespace/name`; who may not read one is told so as by the real one. */
function api(): Api {
  const objects = new Map<string, KubeObject>();
  const forbidden = new Set<string>();
  const keyOf = (kind: string, { namespace = "", name }: { namespace?: string; name: string }): string =>
    `${kind} ${namespace}/${name}`;
  const refused = (status: number, message: string): KubeError =>
    new KubeError("KUBE_REFUSED", message, { status, retryable: false });
  const client = {
    get: async ({ kind }: { kind: string }, ref: { namespace: string; name: string }) => {
      if (forbidden.has(keyOf(kind, ref))) throw refused(403, `secrets "${ref.name}" is forbidden`);
      return objects.get(keyOf(kind, ref));
    },
    create: async (_: object, object: KubeObject) => {
      const key = keyOf(object.kind, object.metadata);
      if (objects.has(key)) throw refused(409, `${key} exists`);
      objects.set(key, object);
      return object;
    },
    apply: async (_: object, object: Applied) => {
      objects.set(keyOf(object.kind, object.metadata), object as KubeObject);
      return object;
    },
  };
  // Only what certificates need of it.
  return { client: client as unknown as KubeClient, objects, forbidden };
}

function observedIn(world: World): Observed {
  const { run, nowMs, pods } = world;
  const settings = {
    image: "oarlock:1",
    natsUrl: "nats://nats:4222",
    natsImage: "nats:2",
    namespace: "oarlock-system",
  };
  return { run, nowMs, pods, children: new Map(world.children), settings, cleans: true };
}

const { signal } = new AbortController();

/** A run whose plan is there, and who asks for its certificates. */
function asker(changes: Partial<RunSpec>) {
  const server = api();
  const identities = createIdentities(server.client, "oarlock-system");
  const world = newWorld(changes);
  world.settle();
  const ask = async (): Promise<TlsState | undefined> => {
    const tls = await identities.of(observedIn(world), signal);
    const { tls: _, ...more } = world.more;
    world.more = tls === undefined ? more : { ...more, tls };
    return tls;
  };
  return { ...server, world, ask };
}

const secretsOf = ({ objects }: Api): readonly SecretObject[] =>
  [...objects.values()].filter(
    ({ kind, metadata }) => kind === "Secret" && metadata.namespace === "team",
  ) as SecretObject[];
const pem = (secret: SecretObject | undefined, file: string): string =>
  Buffer.from(secret?.data?.[file] ?? "", "base64").toString();

interface Template {
  readonly spec: {
    readonly template: {
      readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
      readonly spec: {
        readonly containers: readonly Readonly<Record<string, unknown>>[];
        readonly volumes: readonly object[];
      };
    };
  };
}

it("makes no pod in plain text for a run that asks for TLS", () => {
  const world = newWorld(RUN_CA);
  world.settle();
  expect([...world.children.keys()]).toEqual(["ConfigMap/demo-plan"]);
  world.more = { tls: { type: "waiting", message: "Secret x does not exist" } };
  expect(world.settle().situation).toEqual({
    reason: "WaitingForSecret",
    message: "Secret x does not exist",
  });
});

it("signs a run's certificate once, into a Secret that goes with the run and that it never reads", async () => {
  const server = asker(RUN_CA);
  const { world, ask, forbidden } = server;
  expect((await ask())?.type).toBe("ready");
  const [secret, ...more] = secretsOf(server);
  expect(more).toEqual([]);
  forbidden.add(`Secret team/${secret?.metadata.name}`);
  world.settle();
  await ask();
  expect(secretsOf(server)).toHaveLength(1);
  expect(secret).toMatchObject({ immutable: true, type: "kubernetes.io/tls" });
  const name = secret?.metadata.name;
  expect(secret?.metadata.ownerReferences).toMatchObject([{ kind: "ConfigMap", name }]);
  const owner = server.objects.get(`ConfigMap team/${name}`);
  expect(owner?.metadata.ownerReferences).toMatchObject([{ kind: "TrainingRun", uid: "u-1" }]);
  const leaf = new X509Certificate(pem(secret, "tls.crt"));
  expect(leaf.checkHost("demo-learner.team.svc")).toBe("demo-learner.team.svc");
  expect(leaf.verify(new X509Certificate(pem(secret, "ca.crt")).publicKey)).toBe(true);
});

it("mounts it read-only, and has probes ask a port without TLS", async () => {
  const server = asker(RUN_CA);
  const { world, ask } = server;
  await ask();
  world.settle();
  const secretName = secretsOf(server)[0]?.metadata.name;
  for (const [kind, part] of [
    ["Job", "learner"],
    ["Deployment", "actor"],
    ["Deployment", "reward"],
  ] as const) {
    const { template } = world.child<Template>(kind, part)?.spec ?? {};
    const [container] = template?.spec.containers ?? [];
    expect(template?.spec.volumes).toContainEqual({
      name: "tls",
      secret: { secretName, defaultMode: 0o440 },
    });
    expect(container?.["volumeMounts"]).toContainEqual({
      name: "tls",
      mountPath: "/etc/oarlock-tls",
      readOnly: true,
    });
    expect(container?.["livenessProbe"]).toMatchObject({ grpc: { port: 50_052 } });
    expect(container?.["env"]).toContainEqual({ name: "OARLOCK_HEALTH_PORT", value: "50052" });
  }
});

it("renews after two thirds of a certificate's life, under one authority, and replaces the pods", async () => {
  const server = asker(RUN_CA);
  const { world, ask } = server;
  await ask();
  world.settle();
  world.pods = [servingPod("learner")];
  const before = world.child<Template>("Deployment", "actor")?.spec.template.metadata.annotations[
    "oarlock.dev/tls"
  ];
  world.nowMs += 19 * DAY_MS;
  await ask();
  expect(secretsOf(server)).toHaveLength(1);
  world.nowMs += 2 * DAY_MS;
  await ask();
  const [first, second] = secretsOf(server);
  const decision = world.step();
  expect(decision.remove.map(({ kind }) => kind)).toEqual(["Job"]);
  world.settle();
  const after = world.child<Template>("Deployment", "actor")?.spec.template.metadata.annotations[
    "oarlock.dev/tls"
  ];
  expect(after).not.toBe(before);
  // Pods of before and after trust each other.
  const leaf = new X509Certificate(pem(second, "tls.crt"));
  expect(leaf.verify(new X509Certificate(pem(first, "ca.crt")).publicKey)).toBe(true);
});

it("removes an old certificate once no pod mounts it, and the run's message server has the new one", async () => {
  const server = asker({ ...RUN_CA, nats: { managed: {} } });
  const { world, ask, objects } = server;
  world.more = { natsSecret: "demo-nats-1" };
  const see = async (): Promise<void> => {
    await ask();
    for (const object of objects.values())
      if (object.kind === "ConfigMap") world.children.set(`ConfigMap/${object.metadata.name}`, object);
    world.settle();
  };
  const rolled = (updateRevision: string): void => {
    const nats = world.children.get("StatefulSet/demo-nats")!;
    const status = { readyReplicas: 1, observedGeneration: 1, currentRevision: "2", updateRevision };
    world.children.set("StatefulSet/demo-nats", { ...nats, status } as KubeObject);
    world.settle();
  };
  const kept = (): readonly string[] =>
    [...world.children.keys()].filter((key) => key.startsWith("ConfigMap/demo-tls-"));
  await see();
  const [first] = secretsOf(server);
  const actor = servingPod("actor");
  const annotations = { "oarlock.dev/tls": `${first?.metadata.name}/x` };
  world.pods = [{ ...actor, metadata: { ...actor.metadata, annotations } }];
  rolled("2");
  world.nowMs += 21 * DAY_MS;
  await see();
  expect(kept()).toHaveLength(2);
  world.pods = [];
  rolled("3");
  expect(kept()).toHaveLength(2);
  rolled("2");
  expect(kept()).toEqual([`ConfigMap/${secretsOf(server)[1]?.metadata.name}`]);
});

it("another controller takes over with the same authority, and issues nothing", async () => {
  const server = asker(RUN_CA);
  await server.ask();
  server.world.settle();
  const next = createIdentities(server.client, "oarlock-system");
  const tls = await next.of(observedIn(server.world), signal);
  expect(secretsOf(server)).toHaveLength(1);
  const client = tls?.type === "ready" ? tls.client : {};
  const ca = new X509Certificate(pem(secretsOf(server)[0], "ca.crt"));
  expect(new X509Certificate(client.cert ?? "").verify(ca.publicKey)).toBe(true);
  // The root is gone: another authority, another certificate, other pods.
  server.objects.delete("Secret oarlock-system/oarlock-authority");
  await createIdentities(server.client, "oarlock-system").of(observedIn(server.world), signal);
  expect(secretsOf(server)).toHaveLength(2);
});

async function identityFor(names: readonly string[], days: number, world: World): Promise<Identity> {
  const span = { notBefore: new Date(world.nowMs - DAY_MS), notAfter: new Date(world.nowMs + days * DAY_MS) };
  const secret = Buffer.alloc(32, 1);
  const authority = await openAuthority({ secret, of: "x", purpose: "test", name: "users", ...span });
  return authority.issue({ name: "demo", dnsNames: names, ...span });
}

function secretWith(name: string, { cert, key, ca }: Partial<Identity>): SecretObject {
  const data = { "tls.crt": cert, "tls.key": key, "ca.crt": ca };
  const given = Object.entries(data).filter(([, text]) => text !== undefined);
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name, namespace: "team" },
    data: Object.fromEntries(given.map(([file, text = ""]) => [file, Buffer.from(text).toString("base64")])),
  };
}

it("waits for a Secret that is given, in words that say what is missing", async () => {
  const { world, ask, objects, forbidden } = asker(security({ type: "secret", secret: { name: "mine" } }));
  const said = async (): Promise<string> => {
    const tls = await ask();
    return tls?.type === "waiting" ? tls.message : "";
  };
  expect(await said()).toBe("Secret mine does not exist in the run's namespace");
  forbidden.add("Secret team/mine");
  expect(await said()).toContain(
    "kubectl -n team create role oarlock-mine --verb=get --resource=secrets --resource-name=mine",
  );
  forbidden.clear();
  const identity = await identityFor(["demo-learner.team.svc"], 1, world);
  objects.set("Secret team/mine", secretWith("mine", { cert: identity.cert, key: identity.key }));
  expect(await said()).toBe("Secret mine must hold tls.crt, tls.key and ca.crt; it holds tls.crt, tls.key");
  objects.set("Secret team/mine", secretWith("mine", await identityFor([], -0.5, world)));
  expect(await said()).toMatch(/^Secret mine: its certificate expired on /);
  objects.set("Secret team/mine", secretWith("mine", identity));
  expect(await ask()).toMatchObject({ type: "ready", pods: { secretName: "mine" } });
  // Somebody renews it: within a minute pods are made anew.
  world.settle();
  objects.set("Secret team/mine", secretWith("mine", await identityFor([], 9, world)));
  world.nowMs += 61_000;
  await ask();
  expect(world.step().apply.map(({ object }) => object.kind)).toContain("Deployment");
});

it("asks cert-manager for a Certificate, and says what it says", async () => {
  const issuerRef = { name: "ours", kind: "ClusterIssuer" };
  const server = asker(security({ type: "certManager", certManager: { issuerRef } }));
  const { world, ask, objects } = server;
  await ask();
  const made = objects.get("Certificate team/demo-tls");
  expect(made).toMatchObject({
    metadata: { ownerReferences: [{ uid: "u-1" }] },
    spec: { secretName: "demo-tls", issuerRef: { ...issuerRef, group: "cert-manager.io" } },
  });
  const conditions = [{ type: "Ready", status: "False", message: "issuer not found" }];
  objects.set("Certificate team/demo-tls", { ...made, status: { conditions } } as unknown as KubeObject);
  expect(await ask()).toEqual({
    type: "waiting",
    message: "Secret demo-tls does not exist in the run's namespace; cert-manager says: issuer not found",
  });
  objects.set("Secret team/demo-tls", secretWith("demo-tls", await identityFor([], 9, world)));
  expect(await ask()).toMatchObject({ type: "ready", pods: { secretName: "demo-tls" } });
});

it("a run that trains keeps its pods while its Secret cannot be read, and still suspends", () => {
  const world = running();
  const pods = { secretName: "mine", digest: "d" };
  world.run = {
    ...world.run,
    spec: { ...world.run.spec, ...security({ type: "secret", secret: { name: "mine" } }) },
  };
  world.more = { ...world.more, tls: { type: "ready", pods, client: {} } };
  world.settle();
  world.more = { ...world.more, tls: { type: "waiting", message: "forbidden" } };
  expect(world.step().apply).toEqual([]);
  world.run = { ...world.run, spec: { ...world.run.spec, suspend: true } };
  expect(world.step().apply.map(({ object }) => object.kind)).toContain("Job");
});
