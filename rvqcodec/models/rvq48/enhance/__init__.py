"""What a decoder does to a spectrum that codes describe only in part, step by step."""
