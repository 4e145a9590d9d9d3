"""PCM audio, read and written in blocks, with its tags."""
