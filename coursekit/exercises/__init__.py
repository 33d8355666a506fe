"""One file for each exercise: its facts and its check."""
