"""UltraEdit: one backward pass, a running normaliser, and a ridge regression (Gu et al., 2025)."""
