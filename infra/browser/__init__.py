"""The system's Chromium, and screenshots of the trader's page."""
