"""GRACE: a codebook at one layer, with keys, values and radii (Hartvigsen et al., 2023)."""
