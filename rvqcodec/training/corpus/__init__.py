"""The training corpus: packages, recordings, crops."""
