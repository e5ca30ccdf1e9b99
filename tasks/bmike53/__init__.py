"""The tasks of BMIKE-53: of each of its sets, one for each language and direction, and one that asks in all."""
