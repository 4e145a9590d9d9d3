"""Batch processing: finding files, the work on each, resuming, and the engines that run it."""
