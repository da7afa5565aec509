/** Components of `deploy/k8s` on top of the base: what each adds is what a real API server takes under its makers' own CRDs. */
import { execFileSync } from "node:child_process";
import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type ControlPlane,
  findKube,
  repositoryRoot,
  requireTool,
  startControlPlane,
  suiteFolder,
} from "@oarlock/testkit";
import { requireCrds } from "./packaging-tools.ts";

const kube = findKube(["etcd", "kube-apiserver", "kubectl"]);
const crds = requireCrds();
const collector = requireTool("otelcol");
const folder = suiteFolder("components");
const deploy = join(repositoryRoot(), "deploy/k8s");

/** An overlay of the base and one component. */
function overlay(component: string): string {
  const place = join(folder, component);
  cpSync(join(deploy, "base"), join(place, "base"), { recursive: true });
  cpSync(join(deploy, "crds"), join(place, "crds"), { recursive: true });
  cpSync(join(deploy, "components", component), join(place, "component"), { recursive: true });
  const kustomization = {
    apiVersion: "kustomize.config.k8s.io/v1beta1",
    kind: "Kustomization",
    resources: ["base"],
    components: ["component"],
  };
  writeFileSync(join(place, "kustomization.yaml"), JSON.stringify(kustomization));
  return place;
}

describe.skipIf(kube.absent || crds.absent)(`a component${kube.note}${crds.note}`, () => {
  let plane: ControlPlane;
  beforeAll(async () => {
    plane = await startControlPlane();
    const names = ["clusterissuers", "certificates", "resourceflavors", "clusterqueues", "localqueues"];
    const applied = await plane.kubectl(["apply", "--server-side", "-f", "-"], { input: crds.of(names) });
    expect(applied).toMatchObject({ code: 0 });
    // The base's own, with its restricted level: it would not be there for the others of a dry run.
    await plane.kubectl(["apply", "-f", join(deploy, "base/namespace.yaml")]);
    await plane.kubectl(["create", "namespace", "cert-manager"]);
    await plane.kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]);
  }, 120_000);
  afterAll(async () => plane?.[Symbol.asyncDispose]());

  it.each([
    [
      "cert-manager",
      ["clusterissuer.cert-manager.io/oarlock", "certificate.cert-manager.io/oarlock-authority"],
    ],
    ["kueue", ["clusterqueue.kueue.x-k8s.io/oarlock", "localqueue.kueue.x-k8s.io/oarlock"]],
    ["keda", ["clusterrole.rbac.authorization.k8s.io/oarlock-keda"]],
    ["otel-collector", ["deployment.apps/otel-collector", "service/otel-collector"]],
  ])("%s is taken, without a warning", async (component, made) => {
    const args = ["apply", "--dry-run=server", "--validate=strict", "-o", "name", "-k", overlay(component)];
    const { code, stdout, stderr } = await plane.kubectl(args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout.split("\n")).toEqual(expect.arrayContaining(made));
  });

  it("keda's operator may scale role pools and nothing else of a run", async () => {
    const rights = join(deploy, "components/keda/rights.yaml");
    for (const made of [
      ["-k", join(deploy, "crds")],
      ["-f", rights],
    ])
      expect(await plane.kubectl(["apply", "--server-side", ...made])).toMatchObject({ code: 0 });
    await plane.kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]);
    const may = async (verb: string, ...what: readonly string[]): Promise<string> => {
      const who = ["--as", "system:serviceaccount:keda:keda-operator"];
      return (await plane.kubectl(["auth", "can-i", verb, ...what, "-n", "default", ...who])).stdout.trim();
    };
    expect(await may("patch", "rolepools.oarlock.dev", "--subresource=scale")).toBe("yes");
    expect(await may("list", "rolepools.oarlock.dev")).toBe("yes");
    expect(await may("patch", "trainingruns.oarlock.dev")).toBe("no");
    expect(await may("delete", "rolepools.oarlock.dev")).toBe("no");
  });

  it("otel-collector tells the controller where pods send their traces", async () => {
    const { stdout } = await plane.kubectl(["kustomize", overlay("otel-collector")]);
    expect(stdout).toMatch(
      /OARLOCK_OTLP_ENDPOINT\s+value: http:\/\/otel-collector\.oarlock-system\.svc:4318/,
    );
  });
});

it.skipIf(collector.absent)(`a real collector takes its configuration${collector.note}`, () => {
  const config = join(deploy, "components/otel-collector/config.yaml");
  expect(() =>
    execFileSync(collector.path, ["validate", "--config", config], { stdio: "pipe" }),
  ).not.toThrow();
});
