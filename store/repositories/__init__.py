"""Repositories of files, as the Hub has them: commits, trees, branches and tags."""
