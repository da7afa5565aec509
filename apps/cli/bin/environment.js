// What must be in the environment before a process that computes starts. Plain JavaScript, run before any build step could help.
import { readFileSync } from "node:fs";

/** Threads of the pool: a native call per engine, and room for files while all of them compute. */
const POOL_THREADS = "16";
const HUGE_PAGES = "glibc.malloc.hugetlb";
/** Holds the order of the free blocks that a virtual machine reports to its host, which takes them back. Without: none are. */
const REPORTED_ORDER = "/sys/module/page_reporting/parameters/page_reporting_order";
const LARGEST_ORDER = 10;

/**
 * Has the GNU C library's malloc ask for huge pages (2.35 and newer; others ignore it). Scratch memory of large models goes back to
 * the system after each pass, and to get it again by small pages took an eighth of a training step (135 M parameters: 4.1 s, and
 * 3.5 with huge pages; 3.4 million faults in five steps, and 20,000). Not where the host takes free huge pages back: to get those
 * again takes longer (4.6 s). Not on arm64, where a huge page may be of 512 MiB.
 */
function tunables(given) {
  if (process.platform !== "linux" || process.arch !== "x64" || reportsFreePages()) return given;
  if (given === undefined || given === "") return `${HUGE_PAGES}=1`;
  return given.includes(HUGE_PAGES) ? given : `${given}:${HUGE_PAGES}=1`;
}

function reportsFreePages() {
  try {
    const order = Number(readFileSync(REPORTED_ORDER, "utf8"));
    return order >= 0 && order <= LARGEST_ORDER;
  } catch {
    return false;
  }
}

/** `given`, and what Oarlock needs beside it. What the user has set stays. */
export function startEnvironment(given = process.env) {
  const allocator = tunables(given.GLIBC_TUNABLES);
  return {
    UV_THREADPOOL_SIZE: POOL_THREADS,
    ...given,
    ...(allocator === undefined ? {} : { GLIBC_TUNABLES: allocator }),
  };
}
