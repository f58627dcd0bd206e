"""The trading rules, pure: no driver, framework, clock or environment is imported below this package."""
