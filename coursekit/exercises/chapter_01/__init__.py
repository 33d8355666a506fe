"""Chapter 1: toy models of superposition."""
