"""A listening test without ears: critical signals, and the defects that a listener would hear."""
