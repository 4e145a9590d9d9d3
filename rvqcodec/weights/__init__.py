"""Named models: registry, loading, converters, model cards and the embedded weights."""
