"""The hub: mailboxes, inboxes and commit in WebAssembly, run by wasmtime. README.md beside this file explains it."""
