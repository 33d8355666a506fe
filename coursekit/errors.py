"""The one kind of error that the command line answers with a sentence and exit code 2."""


class CourseError(Exception):
    """Bad input: what was wrong, what was expected, what to do."""
