"""What surrounds a run of the command line: its options, its record, how it starts, shows itself, plays and ends."""
