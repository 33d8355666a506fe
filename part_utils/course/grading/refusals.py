"""The name under which class folders made by older releases refuse nbgrader's own, unjailed grading."""

from coursekit.grading.refusals import NoUnjailedGrading

__all__ = ["NoUnjailedGrading"]
