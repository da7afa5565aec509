/**
 * Packages of the manifests and the images: the chart gives the objects of `deploy/k8s`, third parties' objects are what their
 * CRDs take, alerts fire and have a runbook, every metric that is asked for exists.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { certificateOf } from "@oarlock/controller";
import {
  type ControlPlane,
  findKube,
  repositoryRoot,
  requirePromtool,
  startControlPlane,
} from "@oarlock/testkit";
import { requireCrds, requireHadolint, requireHelm } from "./packaging-tools.ts";

interface KubeObject {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
}

interface Rule {
  readonly alert: string;
  readonly expr: string;
}

const root = repositoryRoot();
const deploy = join(root, "deploy");
const kube = findKube(["etcd", "kube-apiserver", "kubectl"]);
const helm = requireHelm();
const [hadolint, promtool, crds] = [requireHadolint(), requirePromtool(), requireCrds()];

const objectsOf = (text: string): readonly KubeObject[] =>
  parseAllDocuments(text).flatMap((document) =>
    document.toJS() === null ? [] : [document.toJS() as KubeObject],
  );
const keyOf = ({ kind, metadata }: KubeObject): string =>
  `${kind} ${metadata.namespace ?? ""}/${metadata.name}`;
const byKey = (objects: readonly KubeObject[]): Readonly<Record<string, KubeObject>> =>
  Object.fromEntries(objects.map((each) => [keyOf(each), each]));

describe.skipIf(helm.absent || kube.absent)(`the chart${helm.note}${kube.note}`, () => {
  const chart = (...args: readonly string[]): readonly KubeObject[] =>
    objectsOf(
      execFileSync(
        helm.path,
        ["template", "oarlock", join(deploy, "helm/oarlock"), "-n", "oarlock-system", ...args],
        { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], maxBuffer: 1 << 26 },
      ),
    );
  const kustomized = (path: string): readonly KubeObject[] =>
    objectsOf(
      execFileSync(kube.path("kubectl"), ["kustomize", join(deploy, "k8s", path)], {
        encoding: "utf8",
        maxBuffer: 1 << 26,
      }),
    );
  /** The chart keeps CRDs when it is uninstalled, which only an annotation of Helm's says. */
  const withoutKeep = (objects: readonly KubeObject[]): readonly KubeObject[] =>
    objects.map((object) => {
      if (object.kind !== "CustomResourceDefinition") return object;
      const { "helm.sh/resource-policy": policy, ...annotations } = object.metadata.annotations ?? {};
      expect(policy).toBe("keep");
      const { annotations: _, ...metadata } = object.metadata;
      const kept = Object.keys(annotations).length > 0 ? { annotations } : {};
      return { ...object, metadata: { ...metadata, ...kept } };
    });

  it("passes Helm's linter", () => {
    const said = execFileSync(helm.path, ["lint", "--strict", join(deploy, "helm/oarlock")], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
    expect(said).toContain("0 chart(s) failed");
  });

  it.each([
    ["base", ["namespace.create=true"]],
    ["overlays/production", ["namespace.create=true", "controller.replicas=2"]],
    ["overlays/namespaced", ["crds.enabled=false", "rbac.userRoles=false", "controller.watchNamespace=team"]],
  ])("gives the objects of deploy/k8s/%s", (path, values) => {
    const rendered = byKey(withoutKeep(chart(...values.flatMap((value) => ["--set", value]))));
    const source = byKey(kustomized(path));
    expect(Object.keys(rendered).toSorted()).toEqual(Object.keys(source).toSorted());
    expect(rendered).toEqual(source);
  });

  it("takes another namespace, image, message server and secrets", () => {
    const values = [
      "image.repository=reg.example/oarlock",
      "image.digest=sha256:0123",
      "controller.natsUrl=nats://nats.messages.svc:4222",
      "imagePullSecrets[0].name=registry",
      "networkPolicy.enabled=false",
    ];
    const objects = chart("-n", "other", ...values.flatMap((value) => ["--set", value]));
    expect(objects.map(({ kind }) => kind)).not.toContain("NetworkPolicy");
    expect(JSON.stringify(objects)).not.toContain("oarlock-system");
    const deployment = objects.find(({ kind }) => kind === "Deployment");
    expect(deployment).toMatchObject({
      metadata: { namespace: "other" },
      spec: {
        template: {
          spec: {
            imagePullSecrets: [{ name: "registry" }],
            containers: [{ image: "reg.example/oarlock@sha256:0123" }],
          },
        },
      },
    });
    const environment = JSON.stringify(deployment);
    expect(environment).toContain('{"name":"OARLOCK_IMAGE","value":"reg.example/oarlock@sha256:0123"}');
    expect(environment).toContain('{"name":"OARLOCK_NATS_URL","value":"nats://nats.messages.svc:4222"}');
    expect(() => chart("--set", "controller.natsUrl=nats://me:p@nats")).toThrow(/spec\.nats\.urlSecretRef/);
  });
});

describe.skipIf(crds.absent || kube.absent)(`objects of third parties${crds.note}${kube.note}`, () => {
  let plane: ControlPlane;
  beforeAll(async () => {
    plane = await startControlPlane();
    const names = ["certificates", "scaledobjects", "podmonitors", "prometheusrules"];
    // Server-side: these CRDs are larger than an annotation may be.
    const applied = await plane.kubectl(["apply", "--server-side", "-f", "-"], { input: crds.of(names) });
    expect(applied).toMatchObject({ code: 0 });
    await plane.kubectl(["create", "namespace", "oarlock-system"]);
    await plane.kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]);
  }, 120_000);
  afterAll(async () => {
    await plane[Symbol.asyncDispose]();
  });

  it.each(readdirSync(join(deploy, "k8s/samples/scaling")))(
    "%s is what the API server takes",
    async (name) => {
      const file = join(deploy, "k8s/samples/scaling", name);
      const args = ["create", "--dry-run=server", "--validate=strict", "-f", file];
      expect(await plane.kubectl(args)).toMatchObject({ code: 0, stderr: "" });
    },
  );

  it("the Certificate of a run is what the API server takes", async () => {
    const metadata = { name: "demo", namespace: "oarlock-system", uid: "1a2b" };
    const certManager = { issuerRef: { name: "ours", kind: "ClusterIssuer" } } as const;
    const made = certificateOf({
      apiVersion: "oarlock.dev/v1alpha1",
      kind: "TrainingRun",
      metadata,
      spec: {
        model: { from: "hf://org/name" },
        stages: [],
        security: { tls: { type: "certManager", certManager } },
      },
    });
    const args = ["create", "--dry-run=server", "--validate=strict", "-f", "-"];
    const { code, stderr } = await plane.kubectl(args, { input: JSON.stringify(made) });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  });

  it("the monitors, alerts and dashboard are what the API server takes", async () => {
    const folder = mkdtempSync(join(tmpdir(), "oarlock-prometheus-"));
    const component = join(deploy, "k8s/components/prometheus");
    writeFileSync(
      join(folder, "kustomization.yaml"),
      JSON.stringify({
        apiVersion: "kustomize.config.k8s.io/v1beta1",
        kind: "Kustomization",
        components: ["component"],
      }),
    );
    execFileSync("cp", ["-r", component, join(folder, "component")]);
    const args = ["apply", "--dry-run=server", "--validate=strict", "-k", folder];
    const { code, stdout, stderr } = await plane.kubectl(args);
    rmSync(folder, { recursive: true });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout.split("\n").filter((line) => line !== "")).toHaveLength(4);
  });
});

describe("alerts and the dashboard", () => {
  const folder = join(deploy, "k8s/components/prometheus");
  const { spec } = parse(readFileSync(join(folder, "rules.yaml"), "utf8")) as {
    spec: { groups: readonly { rules: readonly Rule[] }[] };
  };
  const rules = spec.groups.flatMap((group) => group.rules);

  it.skipIf(promtool.absent)(
    `promtool takes the rules, and they fire when they should${promtool.note}`,
    () => {
      const aside = mkdtempSync(join(tmpdir(), "oarlock-rules-"));
      writeFileSync(join(aside, "groups.yaml"), JSON.stringify(spec));
      writeFileSync(join(aside, "rules.test.yaml"), readFileSync(join(folder, "rules.test.yaml")));
      const run = (...args: readonly string[]): string =>
        execFileSync(promtool.path, args, {
          cwd: aside,
          encoding: "utf8",
          stdio: ["ignore", "pipe", "pipe"],
        });
      expect(run("check", "rules", "groups.yaml")).toContain(`${rules.length} rules found`);
      expect(run("test", "rules", "rules.test.yaml")).toContain("SUCCESS");
      rmSync(aside, { recursive: true });
    },
  );

  it("every alert has its paragraph in the runbook, and the runbook no other", () => {
    const text = readFileSync(join(root, "docs/runbooks/alerts.md"), "utf8");
    const described = [...text.matchAll(/^## (Oarlock\w+)$/gm)].map(([, name]) => name);
    expect(described).toEqual(rules.map(({ alert }) => alert));
  });

  it("every metric that they ask for is one that a service serves", () => {
    const documented = readFileSync(join(root, "docs/metrics.md"), "utf8");
    const known = new Set([...documented.matchAll(/\| `[\w.]+`\s+\| `(\w+)`/g)].map(([, name]) => name));
    expect(known.size).toBeGreaterThan(40);
    const dashboard = readFileSync(join(folder, "dashboard.json"), "utf8");
    const panels = (JSON.parse(dashboard) as { panels: readonly { targets: readonly Rule[] }[] }).panels;
    const asked = [...rules, ...panels.flatMap(({ targets }) => targets)].map(({ expr }) => expr);
    const names = asked.flatMap((expr) => namesIn(expr));
    expect(names.length).toBeGreaterThan(rules.length + panels.length);
    expect([...new Set(names)].filter((name) => !known.has(name))).toEqual([]);
    // What a training metric is called is a label: those that the learner writes.
    const written = readdirSync(join(root, "services/learner/src"))
      .map((name) => readFileSync(join(root, "services/learner/src", name), "utf8"))
      .join("\n");
    const labels = asked.flatMap((expr) =>
      [...expr.matchAll(/metric="([^"]+)"/g)].map(([, name = ""]) => name),
    );
    expect(labels.length).toBeGreaterThan(4);
    expect(labels.filter((name) => !written.includes(`"${name}"`))).toEqual([]);
  });
});

/** Names of metrics in a PromQL expression: words with an underscore that are no label. */
function namesIn(expr: string): readonly string[] {
  const bare = expr
    .replaceAll(/\{[^}]*\}/g, "")
    .replaceAll(/\b(by|ignoring|on|group_left|group_right|without)\b\s*(\([^)]*\))?/g, "");
  return [...bare.matchAll(/\b([a-z]+(?:_[a-z0-9]+)+)\b(?!\()/g)].map(([, name = ""]) =>
    name.replace(/_(bucket|sum|count)$/, ""),
  );
}

describe("the images", () => {
  it.skipIf(hadolint.absent)(`pass hadolint${hadolint.note}`, () => {
    expect(execFileSync(hadolint.path, [join(deploy, "docker/Dockerfile")], { encoding: "utf8" })).toBe("");
  });

  it("have, for NVIDIA cards, the provider of the library's own version", () => {
    const dockerfile = readFileSync(join(deploy, "docker/Dockerfile"), "utf8");
    const { dependencies } = JSON.parse(readFileSync(join(root, "packages/ort/package.json"), "utf8")) as {
      dependencies: Readonly<Record<string, string>>;
    };
    expect(dockerfile).toContain(`onnxruntime-gpu==${dependencies["onnxruntime-node"]} `);
    // Fetched by who builds that target; the last stage, which is the default, knows nothing of it.
    expect(dockerfile.trim().split("\nFROM ").at(-1)).not.toMatch(/cuda|nvidia/i);
  });

  const images = (...args: readonly string[]): string =>
    execFileSync(process.execPath, [join(root, "tools/images.mjs"), "--print", ...args], {
      encoding: "utf8",
    });

  it("are pushed for two processors, a target of the Dockerfile each", () => {
    const dockerfile = readFileSync(join(deploy, "docker/Dockerfile"), "utf8");
    const bases = ["--build-arg", "NODE_IMAGE=mine/node", "--build-arg", "BASE_IMAGE=mine/debian"];
    const lines = images("--push", "reg.example/team", "--cuda", ...bases)
      .trim()
      .split("\n");
    expect(lines).toHaveLength(6);
    for (const line of lines) {
      const [, target = ""] = /--target (\S+)/.exec(line) ?? [];
      expect(dockerfile).toMatch(new RegExp(`^FROM runtime AS ${target}$`, "m"));
      expect(line).toContain(
        target === "cuda" ? "--platform linux/amd64 " : "--platform linux/amd64,linux/arm64 ",
      );
      expect(line).toContain(` ${bases.join(" ")} `);
      expect(line).toMatch(/--tag reg\.example\/team\/\S+ --push \.$/);
    }
  });

  it("have bases by digest: those of yours, or those that the registry has now", () => {
    const digest = `sha256:${"0a".repeat(32)}`;
    const mine = `NODE_IMAGE=mine/node:24@${digest}`;
    expect(images("--load", "docker", "--build-arg", mine)).toContain(` --build-arg ${mine} `);
    const asked = "docker buildx imagetools inspect --format {{.Manifest.Digest}}";
    const [first = ""] = images("--load", "docker", "--pin", "--build-arg", mine).split("\n");
    expect(first).toContain(` --build-arg ${mine} `);
    expect(first).toMatch(/ BASE_IMAGE=(docker\.io\/library\/debian:\S+)@\$\(docker .* \1\) /);
    expect(first).toContain(asked);
    // Only the target for NVIDIA cards needs it.
    expect(first).not.toContain("PYTHON_IMAGE");
    expect(images("--load", "docker", "--pin", "--cuda")).toContain(
      " PYTHON_IMAGE=docker.io/library/python:",
    );
    // docker takes the value of a name alone from the environment; so may a base be given.
    vi.stubEnv("BASE_IMAGE", "mine/debian:12");
    onTestFinished(() => void vi.unstubAllEnvs());
    const named = ["HTTP_PROXY", "BASE_IMAGE"].flatMap((name) => ["--build-arg", name]);
    const [pinned = ""] = images("--load", "docker", "--pin", ...named).split("\n");
    expect(pinned).toContain(" --build-arg HTTP_PROXY --");
    expect(pinned).toMatch(/ BASE_IMAGE=mine\/debian:12@\$\(docker .* mine\/debian:12\) /);
    expect(() => images("--load", "docker", "--build-arg", "BASE_IMAGE=mine/debian@sha256:0a0a")).toThrow(
      /a digest is @sha256: and 64 hexadecimal digits/,
    );
  });

  it("reach kind under the names of the manifests", () => {
    const manifest = readFileSync(join(deploy, "k8s/base/deployment.yaml"), "utf8");
    const [, name = ""] = /image: (\S+)/.exec(manifest) ?? [];
    expect(name).toMatch(/^ghcr\.io\//);
    expect(images("--load", "kind").trim().split("\n").at(-1)).toContain(` ${name} `);
  });
});
