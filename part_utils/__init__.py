"""Reference implementations, plots and checks of the course on superposition and sparse autoencoders.

Importing the package loads nothing else; every module loads what it needs itself.
"""
