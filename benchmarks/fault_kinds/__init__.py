"""The faults of `faults.py`: a file for each kind."""
