"""The clips of quick and of final measurements, as lists: look.json and release.json."""
