"""The training corpus: packages, recordings, crops, held-out clips."""
