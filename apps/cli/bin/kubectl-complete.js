#!/usr/bin/env node
// What kubectl asks for completions of `kubectl oarlock …`.
import { complete } from "../dist/bundle/kubectl/complete.js";

await complete(process.argv.slice(2));
