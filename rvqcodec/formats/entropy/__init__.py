"""Entropy coding of codebook indices in integer arithmetic, bit-exact on every machine."""
