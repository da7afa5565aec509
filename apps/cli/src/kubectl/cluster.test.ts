/** kubectl as a child of a command: it ends when nobody reads any more, and its own end is told. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { openCluster } from "./cluster.ts";

const CONFIG = {
  apiVersion: "v1",
  kind: "Config",
  "current-context": "here",
  contexts: [{ name: "here", context: { cluster: "here", user: "me" } }],
  clusters: [{ name: "here", cluster: { server: "https://127.0.0.1:1" } }],
  users: [{ name: "me", user: {} }],
};

describe("kubectl under a command", () => {
  const folder = mkdtempSync(join(tmpdir(), "oarlock-kubectl-"));
  const kubeconfig = join(folder, "config");
  const open = () => openCluster({ kubeconfig });
  /** A program in its place. */
  const kubectl = (script: string): void => {
    writeFileSync(join(folder, "kubectl"), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, "kubectl"), 0o755);
  };
  beforeAll(() => {
    writeFileSync(kubeconfig, JSON.stringify(CONFIG));
    vi.stubEnv("PATH", [folder, process.env["PATH"]].join(delimiter));
  });
  afterEach(() => rmSync(join(folder, "kubectl"), { force: true }));
  afterAll(() => {
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true, force: true });
  });

  it("ends when nobody reads its lines any more, which is no failure", async () => {
    kubectl('echo "$$"; while :; do sleep 0.01; echo line; done');
    const left = new AbortController();
    const lines: string[] = [];
    const code = await open().kubectlLines(["logs", "-f"], {
      unread: left.signal,
      onLine: (line) => {
        if (lines.push(line) === 3) left.abort();
      },
    });
    expect(code).toBe(0);
    expect(lines.slice(1, 3)).toEqual(["line", "line"]);
    expect(() => process.kill(Number(lines[0]), 0)).toThrow("ESRCH");
    const never = await open().kubectlLines(["logs"], { unread: left.signal, onLine: () => undefined });
    expect(never).toBe(0);
  });

  it.each([
    ["its own exit code", "exit 7", 7],
    ["a reader that left", 'kill -s PIPE "$$"', 0],
    ["another end", 'kill -s TERM "$$"', 1],
  ])("tells %s", async (_, script, expected) => {
    kubectl(script);
    expect(await open().kubectl(["logs"])).toBe(expected);
  });
});
