/** What `doctor` says of message servers, from what is known of them: tables. */
import { describe, expect, it, vi } from "vitest";
import type { JetStreamAccount } from "@oarlock/bus";
import type { Resource } from "@oarlock/kube";
import type { Cluster } from "./cluster.ts";
import type { Finding } from "./finding.ts";
import { natsFindings } from "./finding-nats.ts";
import { natsAddress, serviceOf } from "./nats-address.ts";
import { type Backing, type NatsFacts, natsFacts } from "./nats-facts.ts";

const GIB = 2 ** 30;
const ADDRESS = "nats://nats.team.svc:4222";
const service = { namespace: "team", name: "nats" };
const backed: Backing = { type: "service", service, ready: 1, selector: "app=nats", ports: undefined };
const account: JetStreamAccount = {
  serverVersion: "2.12.1",
  streams: 3,
  storedBytes: GIB,
  reservedBytes: 2 * GIB,
};

const nats = (facts: Partial<NatsFacts>): readonly Finding[] =>
  natsFindings({
    namespace: "team",
    servers: [],
    own: [],
    secret: [],
    without: [],
    asked: undefined,
    ...facts,
  });
const behind = (backing: Backing, url = ADDRESS): Partial<NatsFacts> => ({
  servers: [{ url, by: ["the controller", "run sums"], backing }],
});
const answers = (more: Partial<JetStreamAccount>): Partial<NatsFacts> => ({
  asked: { type: "answer", url: ADDRESS, account: { ...account, ...more } },
});
const refuses = (code: string): Partial<NatsFacts> => ({
  asked: { type: "refusal", code, message: `[${code}] no` },
});

type Row = readonly [
  what: string,
  facts: Partial<NatsFacts>,
  state: Finding["state"],
  says: string,
  fix: string,
];

describe("doctor of message servers", () => {
  it.each<Row>([
    [
      "a Service with a ready pod",
      behind(backed),
      "ok",
      `${ADDRESS} (the controller, run sums): 1 ready behind`,
      "",
    ],
    [
      "none that is ready",
      behind({ ...backed, ready: 0 }),
      "failed",
      "nothing behind Service team/nats is ready",
      "kubectl -n team describe pods -l app=nats",
    ],
    [
      "no pods of its own",
      behind({ ...backed, ready: 0, selector: "" }),
      "failed",
      "nothing behind",
      "get endpointslices",
    ],
    [
      "another port",
      behind({ ...backed, ports: [4223] }),
      "failed",
      "has no port 4222, but 4223",
      "correct the port",
    ],
    ["a port that is named", behind({ ...backed, ports: [4223] }, "nats://nats:4223"), "ok", "1 ready", ""],
    [
      "no Service",
      behind({ type: "absent", service }),
      "failed",
      "there is no Service nats in team",
      "deploy/k8s/components/nats",
    ],
    [
      "a Service that may not be seen",
      behind({ type: "hidden", service }),
      "unknown",
      "you may not look",
      "somebody",
    ],
    ["a port of wss", behind({ ...backed, ports: [443] }, "wss://nats"), "ok", "1 ready", ""],
    ["no address", behind({ type: "invalid" }), "failed", "is no address", "nats://HOST:4222"],
    ["a server elsewhere", behind({ type: "outside" }), "unknown", "none of this cluster's", "--nats URL"],
    [
      "an address in a Secret",
      { secret: ["run sums"] },
      "unknown",
      "run sums: the address is in a Secret",
      "--nats URL",
    ],
    [
      "no address at all",
      { without: ["sums"] },
      "failed",
      "no message server is known to: sums",
      "OARLOCK_NATS_URL",
    ],
    [
      "a run's own that serves",
      { own: [{ run: "sums", statefulSet: "sums-nats", ready: 1 }] },
      "ok",
      "run sums serves",
      "",
    ],
    [
      "a run's own that does not",
      { own: [{ run: "sums", statefulSet: "sums-nats", ready: 0 }] },
      "failed",
      "does not serve",
      "kubectl -n team describe pod sums-nats-0",
    ],
    [
      "an answer",
      answers({}),
      "ok",
      "nats-server 2.12.1 at nats://nats.team.svc:4222, JetStream is on: 3 streams, 1.0 GiB stored, 2.0 GiB promised, no limit",
      "",
    ],
    ["room", answers({ maxBytes: 4 * GIB, maxStreams: 100 }), "ok", "4.0 GiB at most", ""],
    [
      "little room",
      answers({ maxBytes: 2.1 * GIB }),
      "warning",
      "only 102 MiB of storage left",
      "kubectl delete trun",
    ],
    ["few streams", answers({ maxStreams: 8 }), "warning", "only 5 streams left", "kubectl delete trun"],
    ["no answer", refuses("BUS_UNREACHABLE"), "failed", "[BUS_UNREACHABLE] no", "kubectl port-forward"],
    ["a stranger", refuses("BUS_REFUSED"), "failed", "[BUS_REFUSED]", "NATS_CREDS"],
    [
      "settings at odds",
      refuses("SETTING_INVALID"),
      "failed",
      "[SETTING_INVALID]",
      "in the environment of this",
    ],
    ["no JetStream", refuses("BUS_JETSTREAM_DISABLED"), "failed", "[BUS_JETSTREAM_DISABLED]", "--jetstream"],
    [
      "something else",
      refuses("DEADLINE_EXCEEDED"),
      "failed",
      "[DEADLINE_EXCEEDED]",
      "JetStream enabled for the account",
    ],
  ])("%s", (...[, facts, state, says, fix]) => {
    const [finding, ...others] = nats(facts);
    expect({ state: finding?.state, others }).toEqual({ state, others: [] });
    expect(finding?.message).toContain(says);
    expect(finding?.fix ?? "").toContain(fix);
    expect(finding?.fix === undefined).toBe(state === "ok");
  });

  it.each([
    ["nats", { namespace: "team", name: "nats", certain: true }],
    ["nats.oarlock-system.svc", { namespace: "oarlock-system", name: "nats", certain: true }],
    ["nats.mq.svc.cluster.local", { namespace: "mq", name: "nats", certain: true }],
    ["nats.mq.svc.cluster.local.", { namespace: "mq", name: "nats", certain: true }],
    ["nats-0.nats.mq.svc", { namespace: "mq", name: "nats", certain: true }],
    ["nats.mq", { namespace: "mq", name: "nats", certain: false }],
    ["nats.example.com", undefined],
    ["10.0.0.7", undefined],
    ["localhost", undefined],
    ["[::1]", undefined],
  ])("knows a Service by its host: %s", (host, expected) =>
    expect(serviceOf(host, "team")).toEqual(expected),
  );

  it.each([
    ["nats://nats.mq:4333", { host: "nats.mq", port: 4333 }],
    ["tls://nats", { host: "nats", port: 4222 }],
    ["nats", { host: "nats", port: 4222 }],
    ["nats:4333", { host: "nats", port: 4333 }],
    ["ws://nats", { host: "nats", port: 80 }],
    ["wss://nats", { host: "nats", port: 443 }],
    ["wss://nats:8443", { host: "nats", port: 8443 }],
    ["nats://[::1]:4222", { host: "[::1]", port: 4222 }],
    ["nats://nats:99999", undefined],
    ["nats://:4222", undefined],
    ["http://nats", undefined],
    ["", undefined],
  ])("reads an address as a client does: %j", (text, expected) =>
    expect(natsAddress(text)).toEqual(expected),
  );

  it("finds what stands behind each address, and goes on after an odd one, and after settings that exclude each other", async () => {
    vi.stubEnv("NATS_USER", "me");
    vi.stubEnv("NATS_TOKEN", "secret");
    const services: Readonly<Record<string, readonly string[]>> = { mq: ["nats"], team: ["near"] };
    const url = "nats://nats.mq,wss://near,nats://me:secret@example.com,me:secret@nats:99999,absent:4222, ";
    const named = { metadata: { name: "sums" }, spec: { nats: { url } } };
    // What the API server would answer.
    const client = {
      get: async (
        _: Resource,
        { namespace = "", name }: { readonly namespace?: string; readonly name: string },
      ) => (services[namespace]?.includes(name) === true ? { spec: {} } : undefined),
      list: async ({ kind: of }: Resource) => ({ items: of === "TrainingRun" ? [named] : [] }),
    };
    const cluster = { client, namespace: "team" } as unknown as Cluster;
    const facts = await natsFacts(cluster, { nats: "nats://nats" });
    vi.unstubAllEnvs();
    expect(facts.servers.map(({ url: of, backing }) => [of, backing.type])).toEqual([
      ["nats://nats.mq", "service"],
      ["wss://near", "service"],
      ["nats://example.com", "outside"],
      ["nats:99999", "invalid"],
      ["absent:4222", "absent"],
    ]);
    expect(facts.asked).toMatchObject({ type: "refusal", code: "SETTING_INVALID" });
  });
});
