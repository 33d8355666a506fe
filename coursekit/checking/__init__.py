"""Checks: what they claim, the door to the learner's code, and how they run."""
