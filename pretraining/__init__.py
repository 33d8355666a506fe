"""How the files in `part_utils/data` are made: text, language model, autoencoders, evaluation."""
