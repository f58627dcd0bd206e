"""The trader's page in a real browser, against the real stack."""
