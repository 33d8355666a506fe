"""Kept for the settings of class folders made by older releases; see `coursekit.grading`."""
