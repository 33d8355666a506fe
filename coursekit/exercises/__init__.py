"""One module for each chapter's exercises."""
