"""A task and its data, shipped as files."""
