"""The runner: cells as YAML, each side in a fresh process, JSON out, and the table of `benchmarks/README.md`."""
