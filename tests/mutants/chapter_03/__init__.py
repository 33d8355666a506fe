"""Answers to the exercises of chapter 3: neuron resampling."""
