"""The day-trading back end: what ships to Lambda and what every local server runs."""
