#!/usr/bin/env node
// Starts the program of this name. link.js replaces this script, unless npm runs no scripts of packages.
const path = require("path");
const { spawnSync } = require("child_process");
const { find } = require("../platform");

const done = spawnSync(find(path.basename(__filename)), process.argv.slice(2), { stdio: "inherit" });
if (done.error) console.error(`error: cannot start ${done.error.path}: ${done.error.message}`);
process.exit(done.status ?? 128);
