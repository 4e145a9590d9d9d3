"""Entropy coding of codebook indices: integers decide, so a decode is exact on every machine."""
