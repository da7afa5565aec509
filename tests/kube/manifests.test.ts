/** The manifests on a real API server: they apply, they grant no more than is needed, and the restricted level is kept. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { formatProblem, readRunFile } from "@oarlock/runfile";
import { type ControlPlane, findKube, repositoryRoot, startControlPlane } from "@oarlock/testkit";

const kube = findKube(["etcd", "kube-apiserver", "kubectl"]);
const folder = join(repositoryRoot(), "deploy/k8s");
const samples = readdirSync(join(folder, "samples")).filter((name) => name.endsWith(".yaml"));
const CONTROLLER = "system:serviceaccount:oarlock-system:oarlock-controller";
const RUN_POD = "system:serviceaccount:team:demo-actor";

interface Grant {
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

interface Deployment {
  readonly spec: { readonly template: { readonly metadata: object; readonly spec: object } };
}

describe.skipIf(kube.absent)(`manifests${kube.note}`, () => {
  let plane: ControlPlane;

  beforeAll(async () => {
    plane = await startControlPlane();
    const applied = await plane.kubectl(["apply", "-k", join(folder, "overlays/dev")]);
    expect(applied).toMatchObject({ code: 0 });
    await plane.kubectl(["create", "namespace", "team"]);
    for (const user of ["editor", "viewer"]) {
      const binding = ["create", "rolebinding", user, `--clusterrole=oarlock-${user}`, `--user=${user}`];
      await plane.kubectl([...binding, "-n", "team"]);
    }
  });
  afterAll(async () => {
    await plane[Symbol.asyncDispose]();
  });

  it.each(["base", "overlays/dev", "overlays/production", "overlays/namespaced"])(
    "%s applies under strict validation",
    async (name) => {
      const args = ["apply", "--dry-run=server", "--validate=strict", "-k", join(folder, name)];
      const { code, stderr } = await plane.kubectl(args);
      expect(stderr).toBe("");
      expect(code).toBe(0);
    },
  );

  it("has samples", () => expect(samples).toContain("addition.yaml"));

  it.each(samples)("sample %s is accepted by the API server and by the command line", async (name) => {
    const file = join(folder, "samples", name);
    const args = ["create", "--dry-run=server", "--validate=strict", "-n", "team", "-f", file];
    expect(await plane.kubectl(args)).toMatchObject({ code: 0, stderr: "" });
    const read = readRunFile(readFileSync(file, "utf8"), { file });
    expect(read.ok ? [] : read.problems.map(formatProblem)).toEqual([]);
  });

  it("the addition sample is the example, with a cluster's fields beside", () => {
    const specOf = (path: string): object => {
      const read = readRunFile(readFileSync(join(repositoryRoot(), path), "utf8"), { file: path });
      return read.ok ? read.file.run.spec : {};
    };
    const example = specOf("examples/addition.yaml");
    expect(Object.keys(example)).toContain("stages");
    expect(specOf("deploy/k8s/samples/addition.yaml")).toEqual({
      ...example,
      roles: expect.any(Array) as unknown,
      storage: expect.any(Object) as unknown,
    });
  });

  it("grants by name, never by wildcard, and of Secrets the own one to read", async () => {
    const { stdout } = await plane.kubectl(["kustomize", join(folder, "base")]);
    const rules = stdout.split("---").filter((text) => /^kind: (Cluster)?Role$/m.test(text));
    expect(rules.length).toBe(5);
    for (const rule of rules) {
      expect(rule).not.toContain("'*'");
      const { rules: granted } = parse(rule) as { readonly rules: readonly Grant[] };
      for (const { resources, resourceNames, verbs } of granted) {
        if (!resources.includes("secrets")) continue;
        expect([
          { verbs: ["create"] },
          { verbs: ["get"], resourceNames: ["oarlock-authority"] },
        ]).toContainEqual({
          verbs,
          ...(resourceNames === undefined ? {} : { resourceNames }),
        });
      }
    }
  });

  it.each([
    [CONTROLLER, "patch", "trainingruns/status", "team", "yes"],
    [CONTROLLER, "create", "jobs.batch", "team", "yes"],
    [CONTROLLER, "delete", "jobs.batch", "team", "yes"],
    [CONTROLLER, "get", "pods", "team", "yes"],
    [CONTROLLER, "update", "leases.coordination.k8s.io/oarlock-controller", "oarlock-system", "yes"],
    [CONTROLLER, "update", "leases.coordination.k8s.io/other", "oarlock-system", "no"],
    [CONTROLLER, "get", "nodes", "team", "yes"],
    [CONTROLLER, "list", "nodes", "team", "no"],
    [CONTROLLER, "create", "pods", "team", "no"],
    [CONTROLLER, "delete", "pods", "team", "no"],
    [CONTROLLER, "create", "pods/exec", "team", "no"],
    [CONTROLLER, "get", "secrets", "team", "no"],
    [CONTROLLER, "list", "secrets", "team", "no"],
    // The answer to a patch holds the object.
    [CONTROLLER, "patch", "secrets", "team", "no"],
    [CONTROLLER, "create", "secrets", "team", "yes"],
    [CONTROLLER, "delete", "secrets", "team", "no"],
    [CONTROLLER, "delete", "configmaps", "team", "yes"],
    [CONTROLLER, "get", "secrets/oarlock-authority", "oarlock-system", "yes"],
    [CONTROLLER, "get", "secrets/oarlock-authority", "team", "no"],
    [CONTROLLER, "get", "secrets/other", "oarlock-system", "no"],
    [CONTROLLER, "delete", "deployments.apps", "team", "no"],
    [CONTROLLER, "create", "trainingruns.oarlock.dev", "team", "no"],
    ["editor", "create", "trainingruns.oarlock.dev", "team", "yes"],
    ["editor", "patch", "rolepools.oarlock.dev/scale", "team", "yes"],
    ["editor", "patch", "rolepools.oarlock.dev", "team", "no"],
    ["editor", "patch", "trainingruns.oarlock.dev/status", "team", "no"],
    ["editor", "create", "trainingruns.oarlock.dev", "default", "no"],
    ["viewer", "list", "trainingruns.oarlock.dev", "team", "yes"],
    ["viewer", "delete", "trainingruns.oarlock.dev", "team", "no"],
    ["viewer", "patch", "rolepools.oarlock.dev/scale", "team", "no"],
    [RUN_POD, "get", "trainingruns.oarlock.dev", "team", "no"],
    [RUN_POD, "get", "configmaps", "team", "no"],
    [RUN_POD, "list", "pods", "team", "no"],
  ])("%s may %s %s in %s: %s", async (...row) => {
    const [user, verb, resource, namespace, answer] = row;
    const [kind = "", name] = resource.split("/");
    const subresource = ["status", "scale", "exec"].includes(name ?? "");
    const what = subresource ? [kind, `--subresource=${name}`] : [resource];
    const args = ["auth", "can-i", verb, ...what, "-n", namespace, "--as", user];
    const { stdout } = await plane.kubectl(args);
    expect(stdout.trim()).toBe(answer);
  });

  const createPod = (spec: object) => {
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "probe", namespace: "oarlock-system" },
      spec,
    };
    return plane.kubectl(["create", "--dry-run=server", "-f", "-"], { input: JSON.stringify(pod) });
  };

  it.each([
    ["deploy", "oarlock-controller"],
    ["statefulset", "nats"],
  ])("the pod of %s %s passes the restricted level, by the real admission plugin", async (kind, name) => {
    // Without the controller manager there are no tokens to mount: the account's own setting is not under test.
    await plane.kubectl(["create", "sa", "default", "-n", "oarlock-system"]);
    const { spec } = await plane.get<Deployment>(["-n", "oarlock-system", kind, name]);
    const volumes = {
      volumes: [
        { name: "data", emptyDir: {} },
        { name: "scratch", emptyDir: {} },
      ],
    };
    expect(await createPod({ ...spec.template.spec, ...volumes })).toMatchObject({ code: 0, stderr: "" });
  });

  it("refuses a pod that does not pass it", async () => {
    const { code, stderr } = await createPod({ containers: [{ name: "main", image: "busybox" }] });
    expect(code).not.toBe(0);
    expect(stderr).toContain('violates PodSecurity "restricted');
  });
});
