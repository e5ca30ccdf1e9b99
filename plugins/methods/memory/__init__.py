"""A memory of edits beside an untouched model: what the methods share that answer with an edit in context."""
