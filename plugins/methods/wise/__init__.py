"""WISE: side memories of one down-projection, and a gate that says which questions they answer (Wang et al., 2024)."""
