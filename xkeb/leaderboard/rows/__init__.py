"""Results and published numbers as rows: what may be set against each other, and what sums them up."""
