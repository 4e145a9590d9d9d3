"""Training: losses, optimisers, the trainer and its sessions."""
