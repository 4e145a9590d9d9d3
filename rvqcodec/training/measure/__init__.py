"""Objective quality measures; `rvq eval` uses them too."""
