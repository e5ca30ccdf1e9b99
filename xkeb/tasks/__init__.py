"""Tasks: a data set, a direction and a version, by name."""
