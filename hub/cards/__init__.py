"""Model cards: their metadata, their words, and arbitrary text inside them."""
