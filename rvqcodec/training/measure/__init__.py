"""How good decoded audio is; `rvq eval` uses it too."""
