"""Replays while they run: sessions, the scheduler, processes, progress."""
