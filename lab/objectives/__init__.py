"""What a model reads and what it is asked to write: one file an objective."""
