"""What is made of a trained model: weights, tables, entropy network, card."""
