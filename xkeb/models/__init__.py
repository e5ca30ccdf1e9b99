"""Models: a loaded backbone, its tokens and predictions, and what a forward pass can be intervened with."""
