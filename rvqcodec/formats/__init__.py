"""Bytes on disk: the .rvq format and PCM audio, without torch."""
