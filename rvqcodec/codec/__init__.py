"""The engine that runs any model family: levels and stereo rotation, windows, batches."""
