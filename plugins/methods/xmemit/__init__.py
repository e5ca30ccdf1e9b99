"""MEMIT of an edit in several languages: as the model itself says it there, or as the data does."""
