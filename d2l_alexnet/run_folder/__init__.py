"""The run folder: settings, results, checkpoints and weights."""
