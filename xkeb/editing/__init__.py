"""Editing: what an editor is, and what an edit becomes."""
