"""Tensors: files, configurations, what may be composed, and composing it."""
