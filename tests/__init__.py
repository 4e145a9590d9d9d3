"""The tests: helpers are imported by their full names, `from tests.tiny import ...`."""
