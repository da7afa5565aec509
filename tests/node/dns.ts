/**
 * Cluster DNS for the node: CoreDNS of its Go module, built once into the machine's cache, as a pod behind the address that the
 * kubelet names to every pod.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { keptInCache, repositoryRoot } from "@oarlock/testkit";

export const DNS_IMAGE = "localhost/coredns:1";
/** `clusterDNS` of machine.sh. */
const ADDRESS = "10.0.0.10";
const NAMESPACE = "kube-system";
const NAME = "coredns";
/** Inside of the pod, which may not listen on 53. */
const PORT = 5_353;
const READY_PORT = 8_181;

const COREFILE = `.:${PORT} {
  errors
  ready
  kubernetes cluster.local
}
`;

/** The program; a first build takes a minute and a half of one core. */
export function buildDns(): string {
  const source = join(repositoryRoot(), "tests/node/dns");
  const folder = keptInCache("coredns-1.14.7", (aside) => {
    mkdirSync(aside, { recursive: true });
    const flags = ["-trimpath", "-ldflags", "-s -w", "-o", join(aside, NAME)];
    const env = { ...process.env, CGO_ENABLED: "0" };
    execFileSync("go", ["build", ...flags, "."], { cwd: source, env, stdio: ["ignore", "pipe", "pipe"] });
  });
  return join(folder, NAME);
}

/** It and what it may read. */
export function dnsObjects(): readonly object[] {
  const named = { name: NAME, namespace: NAMESPACE };
  const labels = { "k8s-app": NAME };
  const read = ["list", "watch"];
  const container = {
    name: NAME,
    image: DNS_IMAGE,
    imagePullPolicy: "Never",
    args: ["-conf", "/etc/coredns/Corefile"],
    ports: [{ containerPort: PORT, protocol: "UDP" }],
    readinessProbe: { httpGet: { path: "/ready", port: READY_PORT }, periodSeconds: 1 },
    volumeMounts: [{ name: "config", mountPath: "/etc/coredns" }],
  };
  const ports = ["UDP", "TCP"].map((protocol) => ({
    name: protocol.toLowerCase(),
    port: 53,
    targetPort: PORT,
    protocol,
  }));
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: named },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRole",
      metadata: { name: NAME },
      rules: [
        { apiGroups: [""], resources: ["services", "pods", "namespaces"], verbs: read },
        { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: read },
      ],
    },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: NAME },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: NAME },
      subjects: [{ kind: "ServiceAccount", ...named }],
    },
    { apiVersion: "v1", kind: "ConfigMap", metadata: named, data: { Corefile: COREFILE } },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: named,
      spec: { clusterIP: ADDRESS, selector: labels, ports },
    },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: named,
      spec: {
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            serviceAccountName: NAME,
            // Who answers for names asks nobody for them.
            dnsPolicy: "Default",
            containers: [container],
            volumes: [{ name: "config", configMap: { name: NAME } }],
          },
        },
      },
    },
  ];
}
