"""The exercises of chapter 8: one place in a real language model, read, rebuilt and steered."""
