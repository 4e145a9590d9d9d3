"""Speed, size and quality, measured by hand: each module is a command, `python -m benchmarks.NAME --help`."""
