#!/usr/bin/env node
// Starts the kubectl plugin: `kubectl oarlock …`.
import { main } from "../dist/bundle/kubectl/main.js";

process.exitCode = await main(process.argv);
