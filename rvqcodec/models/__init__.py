"""Model families: networks in torch, configurations without it; nothing on disk."""
