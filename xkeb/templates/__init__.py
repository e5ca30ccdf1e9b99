"""What ``xkeb new`` writes."""
