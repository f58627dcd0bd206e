"""What operators see of commands: a line in the log, counters, and where the time went."""
