"""Other hubs: publishing to them, pulling from them, and what can go wrong on the way."""
