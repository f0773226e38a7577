"""Training runs: one vector, or all of a plan, on this machine or on a cluster."""
