"""Notebooks: their cells, the code in them, and how two are merged."""
