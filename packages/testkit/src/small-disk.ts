/**
 * A disk that can be filled: a tmpfs of its own, where this process may mount one (root, as in most containers of CI). Elsewhere
 * suites that need it skip and say so.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { errnoOf } from "@oarlock/errors";
import { onTestFinished } from "vitest";

export interface SmallDisk {
  /** Gives it another size. */
  resize(bytes: number): void;
  /** Writes a file until nothing more fits. */
  fill(): void;
  /** Removes what `fill` wrote. */
  clear(): void;
  /** Takes it away, with all that is on it. */
  release(): void;
}

const FILLER = ".filler";
const FILL_PIECE_BYTES = 64 * 1024;

/** Whether disks can be mounted; `note` goes to the title of a suite. */
export function requireMount(): { readonly absent: boolean; readonly note: string } {
  const folder = mkdtempSync(join(tmpdir(), "oarlock-mount-"));
  const absent = !mount(["-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]);
  if (!absent) unmount(folder);
  rmSync(folder, { recursive: true });
  return { absent, note: absent ? " (skipped: this user may not mount a tmpfs)" : "" };
}

/** Mounts an empty disk on `folder`, which is made; it is gone when the test ends. */
export function mountSmallDisk(folder: string, bytes: number): SmallDisk {
  mkdirSync(folder, { recursive: true });
  if (!mount(["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", folder]))
    throw new Error(`cannot mount a tmpfs on ${folder}`);
  onTestFinished(() => unmount(folder));
  const filler = join(folder, FILLER);
  return {
    resize(size) {
      if (!mount(["-o", `remount,size=${size}`, folder])) throw new Error(`cannot resize ${folder}`);
    },
    fill() {
      const piece = Buffer.alloc(FILL_PIECE_BYTES);
      try {
        for (;;) writeFileSync(filler, piece, { flag: "a" });
      } catch (reason) {
        if (errnoOf(reason) !== "ENOSPC") throw reason;
      }
    },
    release: () => unmount(folder),
    clear: () => rmSync(filler, { force: true }),
  };
}

function mount(args: readonly string[]): boolean {
  return spawnSync("mount", args, { stdio: "ignore" }).status === 0;
}

function unmount(folder: string): void {
  // Lazily: a process that is ending may still have a file open.
  spawnSync("umount", ["-l", folder], { stdio: "ignore" });
}
