"""Foreign checkpoints as models of this package; nothing is unpickled or run."""
