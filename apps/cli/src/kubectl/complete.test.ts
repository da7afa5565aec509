/** What follows the words of `kubectl oarlock …`, from the definitions of its commands. */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { recordingTerminal } from "../terminal.ts";
import { completionLines, suggest } from "./complete.ts";
import { createPlugin } from "./main.ts";

const plugin = createPlugin({
  terminal: recordingTerminal(),
  withCluster: async () => undefined,
  exit: () => undefined,
});
/** The words, or where names come from. */
const after = (line: string): readonly string[] | string => {
  const suggestion = suggest(plugin, line.split(" "));
  return suggestion.type === "words" ? suggestion.words.map(([word]) => word) : suggestion.of;
};
const flagsAfter = (line: string): object => {
  const suggestion = suggest(plugin, line.split(" "));
  return suggestion.type === "names" ? suggestion.flags : {};
};
const FORMS = ["json", "yaml", "wide", "name"];
const OF_A_CLUSTER = ["--namespace", "--context", "--kubeconfig"];

describe("completion of kubectl oarlock", () => {
  it.each([
    ["", ["submit", "why", "logs", "samples", "suspend", "resume", "checkpoint", "fetch", "doctor"]],
    ["-", ["--version", "-V"]],
    ["why ", "runs"],
    ["why sums ", []],
    ["why -n team ", "runs"],
    ["why -n ", "namespaces"],
    ["why -nteam ", "runs"],
    ["why -nte", "namespaces"],
    ["why -oy", FORMS],
    ["logs -fn ", "namespaces"],
    ["logs -fnteam ", "runs"],
    ["why --namespace=", "namespaces"],
    ["why --context ", "contexts"],
    ["why --kubeconfig ", "files"],
    ["why -o ", FORMS],
    ["why --output=", FORMS],
    ["why sums -o yaml ", []],
    ["logs sums --role ", ["learner", "actor", "reward"]],
    ["logs -f ", "runs"],
    ["logs --tail ", []],
    ["logs --tail 5 ", "runs"],
    ["submit ", "files"],
    ["submit run.yaml ", []],
    ["submit --set ", []],
    ["fetch sums ", "folders"],
    ["doctor ", []],
    ["doctor --", ["--nats", "--output", ...OF_A_CLUSTER]],
    ["suspend -", ["--wait", "--output", "-o", "--namespace", "-n", "--context", "--kubeconfig"]],
    ["nothing ", []],
  ])("%j", (line, expected) => expect(after(line)).toEqual(expected));

  it("looks where the flags before say", () => {
    const flags = { namespace: "team", context: "far", kubeconfig: "/k" };
    expect(flagsAfter("why --namespace=team --context far --kubeconfig /k ")).toEqual(flags);
    expect(flagsAfter("why -nteam --context=far --kubeconfig /k ")).toEqual(flags);
    expect(flagsAfter("logs -fnteam --context=far --kubeconfig /k ")).toMatchObject(flags);
    expect(flagsAfter("why -n team --context=far -o json --kubeconfig=/k ")).toMatchObject(flags);
  });

  it.each([
    ["why -oy", ["-oyaml"]],
    ["why -oya", ["-oyaml"]],
    ["why --output=y", ["yaml"]],
    ["why -o y", ["yaml"]],
    ["logs --role a", ["actor"]],
    ["logs -f", ["-f\tgo on as lines come"]],
  ])("gives the whole word, also where a value is glued to its flag: %s", async (line, expected) => {
    expect(await completionLines(plugin, line.split(" "))).toEqual([...expected, ":4"]);
  });

  it("waits two seconds at most for a cluster that does not answer", async () => {
    const silent = createServer().listen(0, "127.0.0.1");
    await once(silent, "listening");
    const folder = mkdtempSync(join(tmpdir(), "oarlock-complete-"));
    const kubeconfig = join(folder, "config");
    const server = `https://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const config = {
      apiVersion: "v1",
      kind: "Config",
      "current-context": "here",
      contexts: [{ name: "here", context: { cluster: "here", user: "me" } }],
      clusters: [{ name: "here", cluster: { server } }],
      users: [{ name: "me", user: {} }],
    };
    writeFileSync(kubeconfig, JSON.stringify(config));
    const startedMs = performance.now();
    expect(await completionLines(plugin, ["why", "--kubeconfig", kubeconfig, ""])).toEqual([":4"]);
    expect(performance.now() - startedMs).toBeLessThan(10_000);
    silent.close();
    rmSync(folder, { recursive: true, force: true });
  }, 40_000);

  it("says what each word does", () => {
    const described = ["", "doctor --", "submit --"].flatMap((line) => {
      const suggestion = suggest(plugin, line.split(" "));
      return suggestion.type === "words" ? suggestion.words : [];
    });
    expect(described.filter(([, description = ""]) => description === "")).toEqual([]);
    expect(described.length).toBeGreaterThan(15);
  });
});
