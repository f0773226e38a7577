"""How close languages are to each other, with the evidence for every choice."""
