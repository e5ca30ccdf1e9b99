"""Results: what stands in their files, how they are written and read, and what is computed from them."""
