"""Measuring adapters: likelihood and generated text against references, with intervals."""
