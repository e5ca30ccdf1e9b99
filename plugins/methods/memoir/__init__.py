"""MEMOIR: a residual memory beside one down-projection, of which each edit has columns of its own (Wang et al., 2025)."""
