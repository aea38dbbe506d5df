// node tests/page/wasi.js PROGRAM.wasm: runs a program of WASI's, its output on standard output.
'use strict';
const {WASI} = require('node:wasi');
const fs = require('node:fs');

const wasi = new WASI({version: 'preview1'});
WebAssembly.instantiate(fs.readFileSync(process.argv[2]), wasi.getImportObject())
  .then(({instance}) => { process.exitCode = wasi.start(instance); });
