"""Answers to the exercises of chapter 4: a sparse autoencoder on a language model's MLP."""
