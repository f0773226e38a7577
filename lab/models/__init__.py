"""Base models: loading them, finding their projections, and prompting them."""
