#!/usr/bin/env node
// Starts the controller.
import { main } from "../dist/process.js";

process.exit(await main());
