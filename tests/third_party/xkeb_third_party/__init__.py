"""A real plugin package: what a third party writes, and nothing else."""
