"""Network layers shared by the families; they take plain arguments, no configuration."""
