"""Exercises of chapter 7: baselines, a transcoder, and a circuit that adds up."""
