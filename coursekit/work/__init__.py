"""What a learner's commands do."""
