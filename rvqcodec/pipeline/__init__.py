"""The straight line from audio to an .rvq file and back."""
