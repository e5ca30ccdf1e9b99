"""What a run will need in memory and time, worked out without weights: `xkeb run --plan`."""
