"""What bench_check.py measures with."""
