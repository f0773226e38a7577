"""Updates of modules in other factors: lower ranks, other PEFT types."""
