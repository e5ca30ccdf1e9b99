"""The tasks of MzsRE: one for each language and direction, from two files."""
