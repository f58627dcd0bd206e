"""Running replays: sessions, the scheduler, processes, progress."""
