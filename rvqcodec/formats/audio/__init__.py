"""Block-wise reading and writing of PCM audio and its tags."""
