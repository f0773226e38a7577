"""What a program means in a catalogue: selectors answered, sums collected, locks written."""
