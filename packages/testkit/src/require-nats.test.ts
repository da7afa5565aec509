/** Where the nats-server of the tests comes from; what Go and pip would fetch is handed out by programs of the same names. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { temporaryFolder } from "./index.ts";
import { NATS_SOURCES } from "./require-nats.ts";

const find = (where: string): string | undefined =>
  NATS_SOURCES.find((source) => source.where.includes(where))?.find();

function script(folder: string, name: string, body: string): string {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
}

const server = (folder: string, version: string): string =>
  script(folder, "nats-server", `echo nats-server: v${version}`);

describe.skipIf(process.platform === "win32")("a nats-server for tests", () => {
  let [folder, bin] = ["", ""];

  beforeEach(() => {
    folder = temporaryFolder("nats-sources");
    bin = join(folder, "bin");
    vi.stubEnv("TMPDIR", folder);
    vi.stubEnv("PATH", [bin, "/usr/bin", "/bin"].join(delimiter));
    return () => vi.unstubAllEnvs();
  });

  it("is looked for near before far", () => {
    expect(NATS_SOURCES.map(({ where }) => where)).toEqual([
      "on the PATH",
      "in ../shared/kube",
      expect.stringMatching(/^from Go .*nats-server\/v2@v2/),
      expect.stringMatching(/^from PyPI /),
    ]);
  });

  it("is the first of the PATH that is recent enough", () => {
    server(bin, "2.10.29");
    const newer = server(join(folder, "newer"), "2.11.0");
    vi.stubEnv("PATH", [bin, join(folder, "newer"), "/usr/bin", "/bin"].join(delimiter));
    expect(find("PATH")).toBe(newer);
  });

  it("is the one that Go has installed, else is installed by Go once, into the cache", () => {
    const source = server(join(folder, "source"), "2.15.2");
    script(
      bin,
      "go",
      `if [ "$1" = env ]; then echo; echo ${folder}/gopath; else echo "$@" >> ${folder}/calls; cp ${source} "$GOBIN"; fi`,
    );
    const [first, second] = [find("Go"), find("Go")];
    expect(first).toMatch(/oarlock-programs-\d+\/nats-server-go-v2\.\d+\.\d+\/nats-server$/);
    expect(second).toBe(first);
    expect(readFileSync(join(folder, "calls"), "utf8")).toMatch(
      /^install github\.com\/nats-io\/nats-server\/v2@v2\.[\d.]+\n$/,
    );
    const installed = server(join(folder, "gopath", "bin"), "2.12.0");
    expect(find("Go")).toBe(installed);
  });

  it("is not fetched again by each file of a suite where that has failed", () => {
    script(bin, "python3", `echo "$@" >> ${folder}/calls; exit 1`);
    expect([find("PyPI"), find("PyPI")]).toEqual([undefined, undefined]);
    expect(readFileSync(join(folder, "calls"), "utf8").trim().split("\n")).toHaveLength(1);
  });
});
