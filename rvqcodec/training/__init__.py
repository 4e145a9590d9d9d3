"""Corpus, losses, discriminators and trainer; never imported by the paths of the tool itself."""
