#!/usr/bin/env node
// Starts the controller.
import { main } from "../dist/bundle/process.js";

process.exit(await main());
