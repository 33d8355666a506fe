"""Answers to the exercises of chapter 8."""
