"""What a model plugin builds on: reading checkpoints in the Hugging Face format. No plugin itself."""
