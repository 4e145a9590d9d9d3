"""Building blocks that families share; they take plain arguments."""
