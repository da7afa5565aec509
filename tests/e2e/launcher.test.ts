/** What the launcher's process is started with, as the system sees it: both settings count only from a process's start. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "@oarlock/testkit";
import { describe, expect, test } from "vitest";
import { oarlock } from "./oarlock.ts";

/** Environment of the process that computes, where the user's has `given`. */
async function started(given: NodeJS.ProcessEnv): Promise<NodeJS.ProcessEnv> {
  const folder = temporaryFolder("launcher");
  const script = join(folder, "environment.cjs");
  writeFileSync(script, `console.error("process " + JSON.stringify(process.env));`);
  const { UV_THREADPOOL_SIZE: _, GLIBC_TUNABLES: __, ...inherited } = process.env;
  const { code, text } = await oarlock(["--version"], folder, {
    ...inherited,
    NODE_OPTIONS: `--require ${script}`,
    ...given,
  });
  expect(code, text).toBe(0);
  const last = text
    .split("\n")
    .filter((line) => line.startsWith("process "))
    .at(-1);
  return JSON.parse(last?.slice("process ".length) ?? "{}") as NodeJS.ProcessEnv; // printed above
}

/** Of the free blocks that this machine reports to a host, which takes them back: what a virtual machine may do. */
const ORDER = "/sys/module/page_reporting/parameters/page_reporting_order";
const isReported = existsSync(ORDER) && ["9", "10"].includes(readFileSync(ORDER, "utf8").trim());
const HUGE_PAGES = process.platform === "linux" && process.arch === "x64" && !isReported;

describe("the process that computes", () => {
  test("has threads enough, and asks for huge pages where no host takes them back", async () => {
    const environment = await started({});
    expect(environment["UV_THREADPOOL_SIZE"]).toBe("16");
    expect(environment["GLIBC_TUNABLES"]).toBe(HUGE_PAGES ? "glibc.malloc.hugetlb=1" : undefined);
  });

  test.runIf(HUGE_PAGES)("keeps what its user has set", async () => {
    const other = await started({ GLIBC_TUNABLES: "glibc.malloc.arena_max=3" });
    expect(other["GLIBC_TUNABLES"]).toBe("glibc.malloc.arena_max=3:glibc.malloc.hugetlb=1");
    const same = await started({ GLIBC_TUNABLES: "glibc.malloc.hugetlb=0" });
    expect(same["GLIBC_TUNABLES"]).toBe("glibc.malloc.hugetlb=0");
  });
});
