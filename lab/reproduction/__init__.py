"""Runs all rows of the paper's tables and its Figure 2 for any base model, with controls."""
