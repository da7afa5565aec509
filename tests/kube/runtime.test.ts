/** The controller runtime against a real API server: views that survive its death, one leader, applies, events. */
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import {
  acquireLead,
  type Change,
  connect,
  type Connection,
  createController,
  createHttpClient,
  createInformer,
  createRecorder,
  isStatus,
  type KubeClient,
  type KubeObject,
  type Resource,
} from "@oarlock/kube";
import { type ControlPlane, eventually, findKube, startControlPlane } from "@oarlock/testkit";

const kube = findKube(["etcd", "kube-apiserver", "kubectl"]);
const CONFIG_MAPS: Resource = { apiVersion: "v1", kind: "ConfigMap", plural: "configmaps" };

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

const configMap = (name: string, data: Record<string, string> = {}): ConfigMap => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: "default" },
  data,
});

describe.skipIf(kube.absent)(`controller runtime${kube.note}`, () => {
  let plane: ControlPlane;
  let connection: Connection;
  let client: KubeClient;

  beforeAll(async () => {
    plane = await startControlPlane();
    connection = connect({ kubeconfig: plane.kubeconfig() });
    client = createHttpClient(connection);
  });
  afterAll(async () => {
    connection.close();
    await plane[Symbol.asyncDispose]();
  });

  const view = (): {
    changes: string[];
    get: (name: string) => ConfigMap | undefined;
    lists: () => number;
  } => {
    const stop = new AbortController();
    const changes: string[] = [];
    const onChange = ({ before, after }: Change<ConfigMap>): void => {
      const name = (after ?? before)?.metadata.name ?? "";
      changes.push(`${before === undefined ? "added" : after === undefined ? "deleted" : "changed"} ${name}`);
    };
    const informer = createInformer<ConfigMap>({
      client,
      resource: CONFIG_MAPS,
      namespace: "default",
      onChange,
    });
    const ended = informer.run(stop.signal);
    onTestFinished(async () => {
      stop.abort();
      await ended;
    });
    return { changes, get: (name) => informer.get(`default/${name}`), lists: () => informer.lists };
  };

  it("reads, writes, and tells what went wrong", async () => {
    const ref = { namespace: "default", name: "one" };
    expect(await client.get(CONFIG_MAPS, ref)).toBeUndefined();
    const created = await client.create(CONFIG_MAPS, configMap("one", { a: "1" }));
    await expect(client.create(CONFIG_MAPS, configMap("one"))).rejects.toSatisfy((e) => isStatus(e, 409));
    await client.merge(CONFIG_MAPS, ref, { data: { b: "2" } });
    await expect(client.replace(CONFIG_MAPS, created)).rejects.toSatisfy((e) => isStatus(e, 409));
    const { items } = await client.list<ConfigMap>(CONFIG_MAPS, { namespace: "default" });
    expect(items.find(({ metadata }) => metadata.name === "one")?.data).toEqual({ a: "1", b: "2" });
    const invalid = { ...configMap("one"), metadata: { name: "No", namespace: "default" } };
    await expect(client.create(CONFIG_MAPS, invalid)).rejects.toMatchObject({
      code: "KUBE_INVALID",
      retryable: false,
    });
    expect(await client.remove(CONFIG_MAPS, ref, { uid: created.metadata.uid ?? "" })).toBe(true);
    expect(await client.remove(CONFIG_MAPS, ref)).toBe(false);
  });

  it("applies by field manager: each takes back only what was its own", async () => {
    const apply = (fieldManager: string, data: Record<string, string>) =>
      client.apply<ConfigMap>(CONFIG_MAPS, configMap("shared", data), { fieldManager });
    await apply("one", { a: "1", b: "1" });
    await apply("two", { b: "2", c: "2" });
    expect((await apply("one", {})).data).toEqual({ b: "2", c: "2" });
  });

  it("keeps a view that survives the API server's death, and tells what vanished meanwhile", async () => {
    await client.create(CONFIG_MAPS, configMap("stays"));
    const { changes, get, lists } = view();
    await eventually("the first list", () => get("stays"));
    await client.create(CONFIG_MAPS, configMap("goes"));
    await eventually("the new object", () => get("goes"));
    await plane.killApiServer();
    await plane.startApiServer();
    await client.remove(CONFIG_MAPS, { namespace: "default", name: "goes" });
    await client.create(CONFIG_MAPS, configMap("comes"));
    await eventually("the object made after the crash", () => get("comes"), { timeoutMs: 60_000 });
    expect(get("goes")).toBeUndefined();
    expect(get("stays")).toBeDefined();
    expect(changes.filter((change) => change.endsWith("goes"))).toEqual(["added goes", "deleted goes"]);
    expect(lists()).toBeGreaterThan(1);
  });

  it("reconciles what is enqueued, again where it fails, and lets what is in hand finish at the end", async () => {
    const seen: string[] = [];
    let finish = (): void => undefined;
    const finished = new Promise<void>((resolve) => (finish = resolve));
    const controller = createController({
      name: "test",
      async reconcile(key) {
        seen.push(key);
        if (seen.length === 1) throw new Error("the first attempt fails");
        if (key === "slow") await finished;
        return {};
      },
    });
    const stop = new AbortController();
    const running = controller.run(stop.signal);
    controller.enqueue("a");
    await eventually("the second attempt", () => (seen.length >= 2 ? true : undefined));
    controller.enqueue("slow");
    await eventually("the slow one", () => (seen.includes("slow") ? true : undefined));
    stop.abort();
    finish();
    await running;
    expect(seen).toEqual(["a", "a", "slow"]);
    expect(controller.metrics.count("error")).toBe(1);
    expect(controller.metrics.count("success")).toBe(2);
  });

  const contend = (identity: string, signal: AbortSignal, by: KubeClient = client) =>
    acquireLead(
      {
        client: by,
        lease: { namespace: "default", name: "lead" },
        identity,
        leaseSeconds: 3,
        renewDeadlineMs: 2_000,
        retryMs: 200,
      },
      signal,
    );

  it("has one leader, hands over on release, and exits the leader that loses", async () => {
    const stop = new AbortController();
    const one = await contend("one", stop.signal);
    const waiting = contend("two", stop.signal);
    const early = await Promise.race([waiting, new Promise((done) => setTimeout(done, 1_500))]);
    expect(early).toBeUndefined();
    const releasedAtMs = performance.now();
    await one.release();
    const two = await waiting;
    expect(performance.now() - releasedAtMs).toBeLessThan(2_500);
    const lost = expect(two.lost).rejects.toMatchObject({ code: "KUBE_LEAD_LOST" });
    await plane.killApiServer();
    await lost;
    await plane.startApiServer();
    const three = await contend("three", stop.signal);
    await three.release();
    stop.abort();
  });

  it("tells a leader that is cut off that it lost before another leads", async () => {
    const stop = new AbortController();
    let cut = false;
    const fragile: KubeClient = {
      ...client,
      get: (...args) => (cut ? Promise.reject(new Error("cut off")) : client.get(...args)),
    };
    const four = await contend("four", stop.signal, fragile);
    const waiting = contend("five", stop.signal).then((lead) => ({ lead, atMs: performance.now() }));
    const lost = four.lost.catch(() => performance.now());
    cut = true;
    const cutAtMs = performance.now();
    const [lostAtMs, { lead, atMs }] = await Promise.all([lost, waiting]);
    expect(lostAtMs).toBeLessThan(atMs);
    // The lease has 3 s, the deadline 2 s, a retry 0.2 s: on a busy machine a little more.
    expect(lostAtMs - cutAtMs).toBeLessThan(3_000);
    expect(atMs - cutAtMs).toBeLessThan(8_000);
    await lead.release();
    stop.abort();
  });

  it("records events that kubectl describe shows, repeats as a count", async () => {
    const about = await client.create(CONFIG_MAPS, configMap("eventful"));
    const recorder = createRecorder({ client, component: "oarlock-controller" });
    for (let times = 0; times < 3; times++)
      await recorder.record(about, { type: "Warning", reason: "Stalled", message: "no step for a while" });
    await recorder.record(about, { type: "Normal", reason: "Scaled", message: "x".repeat(2_000) });
    const { items } = await plane.get<{ items: { reason: string; count: number; message: string }[] }>([
      "events",
      "--field-selector",
      "involvedObject.name=eventful",
    ]);
    expect(Object.fromEntries(items.map(({ reason, count }) => [reason, count]))).toEqual({
      Scaled: 1,
      Stalled: 3,
    });
    const { stdout } = await plane.kubectl(["describe", "configmap", "eventful"]);
    expect(stdout).toMatch(/Warning\s+Stalled.*x3.*oarlock-controller.*no step for a while/);
  });
});
