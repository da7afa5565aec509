/** What follows the words of `kubectl oarlock …`, from the definitions of its commands. */
import { describe, expect, it } from "vitest";
import { recordingTerminal } from "../terminal.ts";
import { suggest } from "./complete.ts";
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
    expect(flagsAfter("why -n team --context=far -o json --kubeconfig=/k ")).toMatchObject(flags);
  });

  it("says what each word does", () => {
    const described = ["", "doctor --", "submit --"].flatMap((line) => {
      const suggestion = suggest(plugin, line.split(" "));
      return suggestion.type === "words" ? suggestion.words : [];
    });
    expect(described.filter(([, description = ""]) => description === "")).toEqual([]);
    expect(described.length).toBeGreaterThan(15);
  });
});
