"""The networks: torch only, nothing on disk."""
