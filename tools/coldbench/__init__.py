"""Programs that `tools/bench_cold.py` runs, each in a fresh process."""
