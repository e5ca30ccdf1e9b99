"""Regimes with several edits on one model: their order, their sessions on disk, and their questions."""
