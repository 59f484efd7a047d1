"""Files of a run folder: checkpoints, summary, model card and metrics. Imports no torch."""
