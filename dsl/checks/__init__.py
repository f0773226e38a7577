"""What a program may mean, found out before any adapter is looked for."""
