"""Quick twins of readable code, each held to its readable original by a test.

Functions of torch that are not public are called in this folder only.
"""


def overrides(instance: object, original: type, *names: str) -> bool:
    """Tell whether an object's class has another method than `original` under one of these names.

    A short cut that computes what `original` computes may be taken where this is False.
    """
    return any(getattr(type(instance), name) is not getattr(original, name) for name in names)
