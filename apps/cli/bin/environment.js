// What must be in the environment before a process that computes starts. Plain JavaScript, run before any build step could help.

/** Threads of the pool: a native call per engine, and room for files while all of them compute. */
const POOL_THREADS = "16";
const HUGE_PAGES = "glibc.malloc.hugetlb";

/**
 * Has the GNU C library's malloc ask for huge pages (2.35 and newer; others ignore it). Scratch memory of large models goes back to
 * the system after each pass, and to get it again by small pages took a tenth of a step's processor time: 3.4 million faults in
 * five steps of 135 M parameters, some 15,000 with huge pages. Not on arm64, where a huge page may be of 512 MiB.
 */
function tunables(given) {
  if (process.platform !== "linux" || process.arch !== "x64") return given;
  if (given === undefined || given === "") return `${HUGE_PAGES}=1`;
  return given.includes(HUGE_PAGES) ? given : `${given}:${HUGE_PAGES}=1`;
}

/** `given`, and what Oarlock needs beside it. What the user has set stays. */
export function computeEnvironment(given = process.env) {
  const allocator = tunables(given.GLIBC_TUNABLES);
  return {
    UV_THREADPOOL_SIZE: POOL_THREADS,
    ...given,
    ...(allocator === undefined ? {} : { GLIBC_TUNABLES: allocator }),
  };
}
