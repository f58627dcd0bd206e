"""The trading rules. Pure: no driver, framework, clock or environment is imported in this package."""
