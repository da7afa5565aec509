#!/usr/bin/env node
// Starts Oarlock in a process whose thread pool is large enough and whose memory comes in huge pages: native compute calls
// and file access share libuv's pool, and both settings count only where they are made before node starts. Plain
// JavaScript, run before any build step could help; everything else is in dist/bundle/main.js.
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";
import { startEnvironment } from "./environment.js";

const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`Oarlock needs Node.js 20.19 or newer; this is ${process.version}.`);
  process.exit(2);
}

if (process.env.UV_THREADPOOL_SIZE === undefined) {
  const args = [...process.execArgv, fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  const stdio = ["inherit", "inherit", "inherit", "ipc"];
  const child = spawn(process.execPath, args, { stdio, env: startEnvironment() });
  // A terminal sends Ctrl-C to both processes, other senders only to this one: forward, and the child counts once.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    console.error(`Cannot start ${process.execPath}: ${error.message}`);
    process.exit(1);
  });
  child.on("exit", (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)));
} else {
  // The channel to the launcher carries nothing: it closes when the launcher is killed, and nobody watches this process.
  process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
  process.channel?.unref();
  const { main } = await import("../dist/bundle/main.js");
  process.exitCode = await main(process.argv);
  // Work that a failed command left behind must not keep the process alive.
  if (process.exitCode !== 0) process.exit();
}
