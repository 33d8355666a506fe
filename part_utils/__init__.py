"""The library of the course on superposition and sparse autoencoders: models, training, evaluation, plots, dashboard.

Importing the package loads nothing else; every module loads what it needs itself.
"""
