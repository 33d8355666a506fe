"""Grades a class: the checks stay here, every learner's code runs in a jail of its own."""
