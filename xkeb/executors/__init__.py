"""How the cells of a run are executed."""
