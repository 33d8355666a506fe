"""What an author of chapters runs: build and lint."""
