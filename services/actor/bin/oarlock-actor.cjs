#!/usr/bin/env node
// Starts the actor service. Native compute calls and file access share libuv's thread pool, whose size counts only where it
// is set before its first use: CommonJS, since loading modules the other way uses it.
"use strict";

process.env.UV_THREADPOOL_SIZE ??= "16";

void import("../dist/bundle/process.js")
  .then(({ main }) => main())
  .catch((error) => {
    console.error(error instanceof Error ? error.message : error);
    return 3;
  })
  .then((code) => process.exit(code));
