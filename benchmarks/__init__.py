"""What measures speed and memory: `python -m benchmarks.benchmark_step` and its neighbours."""
