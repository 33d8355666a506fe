"""Answers to the exercises of chapter 0: shapes and einsum."""
