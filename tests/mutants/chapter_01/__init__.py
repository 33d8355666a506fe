"""Answers to the exercises of chapter 1: toy models of superposition."""
