"""Training of models: corpus, losses, trainer, measures, release; the tool itself imports only `measure`."""
