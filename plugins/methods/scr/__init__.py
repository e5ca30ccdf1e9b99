"""SCR: what the memory holds is shown only where the model itself says that it is about the question."""
