"""Training one net with several processes, on one machine or more."""
