"""Answers to the exercises of chapter 2: a sparse autoencoder on the toy model."""
