"""The engine that runs any family: levels, windows, batches."""
