"""Release of a trained model: calibration, weights, static tables, entropy network, model card."""
