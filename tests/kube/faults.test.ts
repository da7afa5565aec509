/**
 * Between the controller and the API server everything that an API server does to its clients: conflicts, refusals, throttling,
 * failures, slow answers, watches that break and expire. Under each, a new run gets all of its children, each once, and then
 * nothing is written. What it cost is printed as a table.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { request as httpsRequest, createServer, type Server } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningController, startController } from "@oarlock/controller";
import { connect, type Connection } from "@oarlock/kube";
import { Lifecycle, silentLog, systemClock } from "@oarlock/runtime";
import {
  type ControlPlane,
  eventually,
  findKube,
  repositoryRoot,
  startControlPlane,
  suiteFolder,
} from "@oarlock/testkit";
import { tinyModelSpec } from "../tiny-model.ts";

const kube = findKube(["etcd", "kube-apiserver", "kubectl"]);

/** What befalls a request; false: it passes. */
type Fault = (request: IncomingMessage, response: ServerResponse) => boolean;

const isWatch = ({ url = "" }: IncomingMessage): boolean => url.includes("watch=true");
/** Of a child; how the run says what befell it is not under test. */
const isApply = ({ method, url = "" }: IncomingMessage): boolean =>
  method === "PATCH" && !url.includes("/status?");

/** An answer of the API server's form, to so many requests of a kind. */
function answers(
  times: number,
  matches: (request: IncomingMessage) => boolean,
  of: { readonly status: number; readonly reason: string; readonly headers?: Record<string, string> },
): Fault {
  let left = times;
  return (request, response) => {
    if (left === 0 || !matches(request)) return false;
    left -= 1;
    const { status: code, reason, headers } = of;
    const body = { kind: "Status", apiVersion: "v1", status: "Failure", message: "injected", reason, code };
    response.writeHead(code, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify(body));
    return true;
  };
}

/** The first watches end with what a server says whose history is too short. */
function expires(times: number): Fault {
  let left = times;
  return (request, response) => {
    if (left === 0 || !isWatch(request)) return false;
    left -= 1;
    const object = { kind: "Status", status: "Failure", reason: "Expired", code: 410, message: "too old" };
    response.writeHead(200, { "content-type": "application/json" });
    response.end(`${JSON.stringify({ type: "ERROR", object })}\n`);
    return true;
  };
}

/** The first requests of a kind lose their connection. */
function breaks(times: number, matches: (request: IncomingMessage) => boolean): Fault {
  let left = times;
  return (request) => {
    if (left === 0 || !matches(request)) return false;
    left -= 1;
    request.socket.destroy();
    return true;
  };
}

const SLOW_MS = 300;

interface Case {
  readonly name: string;
  readonly fault: () => Fault;
  readonly delayMs?: number;
  /** Whether reconciles fail: watches that end are no failure of theirs. */
  readonly errors: boolean;
}

const CASES: readonly Case[] = [
  { name: "no fault", fault: () => () => false, errors: false },
  {
    name: "409 to 5 applies",
    fault: () => answers(5, isApply, { status: 409, reason: "Conflict" }),
    errors: true,
  },
  {
    name: "422 to 2 applies",
    fault: () => answers(2, isApply, { status: 422, reason: "Invalid" }),
    errors: false,
  },
  {
    name: "429 to 5 applies, Retry-After 1",
    fault: () =>
      answers(5, isApply, { status: 429, reason: "TooManyRequests", headers: { "retry-after": "1" } }),
    errors: true,
  },
  {
    name: "500 to 8 applies",
    fault: () => answers(8, isApply, { status: 500, reason: "InternalError" }),
    errors: true,
  },
  { name: "connection lost in 5 applies", fault: () => breaks(5, isApply), errors: true },
  { name: "12 watches dropped", fault: () => breaks(12, isWatch), errors: false },
  { name: "12 watches expired (410)", fault: () => expires(12), errors: false },
  { name: `every answer ${SLOW_MS} ms late`, fault: () => () => false, delayMs: SLOW_MS, errors: false },
];

/** Everything that a run of one role of each kind becomes. */
const CHILDREN = { sa: 3, cm: 1, pvc: 1, netpol: 1, svc: 3, rpool: 2, pdb: 2, deploy: 2, job: 1 };

describe.skipIf(kube.absent)(`faults between controller and API server${kube.note}`, () => {
  const folder = suiteFolder("faults");
  const rows: string[] = [];
  let plane: ControlPlane;
  let proxy: Server;
  let fault: Fault = () => false;
  let delayMs = 0;
  let injected = 0;

  const pass = (request: IncomingMessage, response: ServerResponse): void => {
    if (fault(request, response)) {
      injected += 1;
      return;
    }
    const { method, headers, url = "" } = request;
    const sent = httpsRequest(plane.url + url, { method, headers, ca: plane.certificate }, (answer) => {
      setTimeout(() => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      }, delayMs);
    });
    sent.on("error", () => request.socket.destroy());
    response.on("close", () => sent.destroy());
    request.pipe(sent);
  };

  beforeAll(async () => {
    plane = await startControlPlane();
    await plane.kubectl(["apply", "-k", join(repositoryRoot(), "deploy/k8s/crds")]);
    await plane.kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=20s"]);
    proxy = createServer({ key: plane.key, cert: plane.certificate }, pass);
    await new Promise<void>((done) => proxy.listen(0, "127.0.0.1", done));
    const { port } = proxy.address() as AddressInfo;
    const direct = readFileSync(plane.kubeconfig(), "utf8");
    writeFileSync(join(folder, "kubeconfig"), direct.replaceAll(plane.url, `https://127.0.0.1:${port}`));
    const planner = 'process.stdout.write(JSON.stringify({ kind: "ResolvedRun", digest: "d" }));';
    writeFileSync(join(folder, "planner.cjs"), planner);
  }, 60_000);
  afterAll(async () => {
    proxy.closeAllConnections();
    proxy.close();
    await plane[Symbol.asyncDispose]();
    console.log(
      ["fault | injected | seconds to all children | requests | failed reconciles", ...rows].join("\n"),
    );
  });

  const start = (connection: Connection, lifecycle: Lifecycle): Promise<RunningController> =>
    startController({
      config: {
        children: {
          image: "oarlock:1",
          natsUrl: "nats://nats:4222",
          natsImage: "nats:2",
          namespace: "default",
        },
        identity: "one",
        watchNamespace: undefined,
        planner: [process.execPath, join(folder, "planner.cjs")],
        host: "127.0.0.1",
        port: 0,
        elect: false,
        graceMs: 5_000,
      },
      connection,
      lifecycle,
      clock: systemClock,
      log: silentLog,
    });

  it.each(CASES)(
    "$name: every child is made, once, and then nothing is written",
    async (given) => {
      const at = CASES.indexOf(given);
      const name = `run-${at}`;
      const metadata = { name, namespace: "default" };
      const task = { type: "task", task: { name: "addition" } };
      const stages = [{ name: "warm", type: "sft", sft: { data: task, steps: 1 } }];
      const spec = { model: tinyModelSpec(32), stages };
      [fault, delayMs, injected] = [given.fault(), given.delayMs ?? 0, 0];
      const lifecycle = new Lifecycle({ name });
      const connection = connect({ kubeconfig: join(folder, "kubeconfig") });
      const controller = await start(connection, lifecycle);
      const { metrics } = controller.runs.controller;
      const run = { apiVersion: "oarlock.dev/v1alpha1", kind: "TrainingRun", metadata, spec };
      const startedMs = performance.now();
      await plane.kubectl(["apply", "-f", "-"], { input: JSON.stringify(run) });
      await eventually(
        "all children",
        async () => {
          const kinds = Object.keys(CHILDREN).join(",");
          const { items } = await plane.get<{ items: readonly { kind: string }[] }>([
            kinds,
            "-l",
            `oarlock.dev/run=${name}`,
          ]);
          const wanted = Object.values(CHILDREN).reduce((sum, count) => sum + count, 0);
          return items.length === wanted ? true : undefined;
        },
        { timeoutMs: 60_000, everyMs: 250 },
      );
      const seconds = (performance.now() - startedMs) / 1000;
      const requests = (): number =>
        ["POST", "PUT", "PATCH", "DELETE"].reduce(
          (sum, method) => sum + (metrics.requests.get(method) ?? 0),
          0,
        );
      await eventually(
        "rest",
        async () => {
          const before = requests();
          await new Promise((done) => setTimeout(done, 3_000));
          return requests() === before ? true : undefined;
        },
        { timeoutMs: 90_000 },
      );
      const all = [...metrics.requests.values()].reduce((sum, count) => sum + count, 0);
      rows.push(`${given.name} | ${injected} | ${seconds.toFixed(1)} | ${all} | ${metrics.count("error")}`);
      await lifecycle.end("the case is over");
      connection.close();
      if (given.name !== "no fault" && given.delayMs === undefined) expect(injected).toBeGreaterThan(0);
      expect(metrics.count("error") > 0).toBe(given.errors);
      // The run says that it starts: no fault was taken for its own.
      const { status } = await plane.get<{ status: { conditions: { type: string; reason: string }[] } }>([
        "trun",
        name,
      ]);
      expect(status.conditions.find(({ type }) => type === "Ready")?.reason).toBe("Starting");
    },
    180_000,
  );
});
