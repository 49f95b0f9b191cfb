"""Speed and memory, each as a ratio against a baseline of the same run: `python -m tests.benchmarks.NAME`."""
