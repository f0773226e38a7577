"""From text to the syntax tree and back, and what is said of text that is none."""
