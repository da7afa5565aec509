/** A user's pod template: what it adds is there, what it does not name stays, and pods are still found. */
import { describe, expect, it } from "vitest";
import { newWorld, running } from "../world.ts";
import { overridden } from "./override.ts";

const template = {
  metadata: {
    labels: { team: "x", "oarlock.dev/run": "another" },
    annotations: { "sidecar/inject": "false" },
  },
  spec: {
    hostNetwork: false,
    containers: [
      {
        name: "actor",
        env: [{ name: "HF_ENDPOINT", value: "https://hub" }],
        volumeMounts: [{ name: "cache", mountPath: "/cache" }],
      },
      { name: "sidecar", image: "sidecar:1" },
    ],
    volumes: [{ name: "cache", emptyDir: {} }],
    topologySpreadConstraints: [{ maxSkew: 1 }],
  },
};

interface Template {
  readonly metadata: {
    readonly labels: Record<string, string>;
    readonly annotations: Record<string, string>;
  };
  readonly spec: {
    readonly containers: readonly {
      readonly name: string;
      readonly image: string;
      readonly env?: readonly { readonly name: string }[];
      readonly volumeMounts?: readonly { readonly mountPath: string }[];
    }[];
    readonly volumes: readonly { readonly name: string }[];
    readonly topologySpreadConstraints?: readonly object[];
  };
}

describe("the template of a role", () => {
  it("merges into the controller's, by name where a list has names", () => {
    const world = running({ roles: [{ name: "actor", template }] });
    const { metadata, spec } =
      world.child<{ spec: { template: Template } }>("Deployment", "actor")?.spec.template ?? ({} as Template);
    expect(metadata.labels).toMatchObject({
      team: "x",
      "oarlock.dev/run": "demo",
      "oarlock.dev/role": "actor",
    });
    expect(metadata.annotations).toMatchObject({
      "sidecar/inject": "false",
      "kubectl.kubernetes.io/default-container": "actor",
    });
    expect(spec.containers.map(({ name }) => name)).toEqual(["actor", "sidecar"]);
    const [actor] = spec.containers;
    expect(actor?.image).toBe("oarlock:1");
    expect(actor?.env?.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["OARLOCK_PLAN", "HF_ENDPOINT"]),
    );
    expect(actor?.volumeMounts?.map(({ mountPath }) => mountPath)).toEqual(
      expect.arrayContaining(["/tmp", "/cache"]),
    );
    expect(spec.volumes.map(({ name }) => name)).toEqual(expect.arrayContaining(["plan", "cache"]));
    expect(spec.topologySpreadConstraints).toEqual([{ maxSkew: 1 }]);
  });

  it("of one role changes no other, and none changes nothing", () => {
    const plain = running();
    const world = running({ roles: [{ name: "actor", template }] });
    expect(world.child("Deployment", "reward")).toEqual(plain.child("Deployment", "reward"));
    expect(overridden({ a: [1, 2], b: { c: 1 } }, undefined)).toEqual({ a: [1, 2], b: { c: 1 } });
    expect(overridden({ a: [1, 2], b: { c: 1 } }, { a: [3], b: { d: 2 } })).toEqual({
      a: [3],
      b: { c: 1, d: 2 },
    });
  });

  it("that the API server refuses makes the run say so, and another is tried", () => {
    const world = newWorld({ roles: [{ name: "actor", template }] });
    world.settle();
    world.more = { refusal: "Deployment.apps demo-actor is invalid: spec.template.spec.x" };
    const decision = world.step();
    expect(decision.status?.conditions?.find(({ type }) => type === "Ready")).toMatchObject({
      status: "False",
      reason: "ChildRefused",
      message: expect.stringContaining("spec.template.spec.x"),
    });
    expect(decision.requeueAfterMs).toBe(30_000);
    world.more = {};
    world.settle();
    expect(world.run.status?.conditions?.find(({ type }) => type === "Ready")?.reason).toBe("Starting");
  });
});
