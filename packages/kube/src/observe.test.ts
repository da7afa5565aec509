/** The pure parts that decide whether something is written: coverage, conditions, errors. */
import { describe, expect, it } from "vitest";
import { apiError, isStatus } from "./api-error.ts";
import { conditionOf, isTrue, type Observation, withTimes } from "./conditions.ts";
import { covers } from "./covers.ts";
import { collectionPath, keyOf, objectPath, refOf } from "./object.ts";

describe("covers", () => {
  it.each([
    ["defaults that the server added", { a: 1, added: true }, { a: 1 }, true],
    ["another value", { a: 2 }, { a: 1 }, false],
    ["a field that is gone", {}, { a: 1 }, false],
    ["a zero value that the server left out", {}, { a: 0, b: "", c: false }, true],
    ["a quantity written otherwise", { cpu: "1", memory: "1Gi" }, { cpu: "1000m", memory: "1024Mi" }, true],
    ["another quantity", { cpu: "1" }, { cpu: "1001m" }, false],
    ["a shorter list", [{ a: 1 }], [{ a: 1 }, { a: 2 }], false],
    ["items with defaults", [{ a: 1, b: 1 }], [{ a: 1 }], true],
    ["a list where a block was", { a: 1 }, [1], false],
    ["nothing wanted", { a: 1 }, { b: undefined }, true],
  ])("%s", (_, present, wanted, expected) => expect(covers(present, wanted)).toBe(expected));
});

describe("conditions", () => {
  const ready: Observation = { type: "Ready", status: "True", reason: "Training", message: "step 2" };

  it("keep their time while the status stays, and get a new one when it changes", () => {
    const first = withTimes([], [ready], "t1");
    expect(withTimes(first, [{ ...ready, message: "step 3" }], "t2")[0]).toMatchObject({
      message: "step 3",
      lastTransitionTime: "t1",
    });
    const changed = withTimes(first, [{ ...ready, status: "False" }], "t2");
    expect(conditionOf(changed, "Ready")?.lastTransitionTime).toBe("t2");
    expect([isTrue(first, "Ready"), isTrue(changed, "Ready"), isTrue(first, "Failed")]).toEqual([
      true,
      false,
      false,
    ]);
  });
});

describe("errors", () => {
  it.each([
    [404, "KUBE_NOT_FOUND", true],
    [409, "KUBE_CONFLICT", true],
    [410, "KUBE_GONE", true],
    [422, "KUBE_INVALID", false],
    [400, "KUBE_REFUSED", false],
    [503, "KUBE_UNAVAILABLE", true],
  ])("%i is %s", (status, code, retryable) => {
    const error = apiError("GET /x", { status, body: '{"message":"why"}' });
    expect(error).toMatchObject({ code, retryable, status });
    expect(error.message).toContain("GET /x");
    expect(error.message).toContain("why");
    expect(isStatus(error, status)).toBe(true);
  });

  it("keeps how long a busy server asks to wait", () => {
    expect(apiError("GET /x", { status: 429, body: "busy", retryAfter: "3" })).toMatchObject({
      retryAfterMs: 3_000,
      code: "KUBE_BUSY",
    });
  });
});

describe("paths", () => {
  it("of core and grouped resources", () => {
    const pods = { apiVersion: "v1", kind: "Pod", plural: "pods" };
    const runs = { apiVersion: "oarlock.dev/v1alpha1", kind: "TrainingRun", plural: "trainingruns" };
    expect(collectionPath(pods)).toBe("/api/v1/pods");
    expect(objectPath(runs, { namespace: "a", name: "b" }, "status")).toBe(
      "/apis/oarlock.dev/v1alpha1/namespaces/a/trainingruns/b/status",
    );
    expect(refOf(keyOf({ metadata: { name: "b", namespace: "a" } }))).toEqual({ namespace: "a", name: "b" });
  });
});
