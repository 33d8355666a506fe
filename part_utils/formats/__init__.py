"""Autoencoders in files: our own format and those of other packages, both ways.

One format in each module: `ours`, `sae_lens`, `dictionary_learning`, `sparsify`. `recognize.py` finds out which of
them a path is, `weights.py` is what they all are read to, and `reading.py` reads files that may be damaged.
"""
