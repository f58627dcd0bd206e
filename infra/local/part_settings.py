"""Settings for tools that use only a part of the system."""

from chalicelib.config.settings import SAMPLES, Settings, read_settings

_NEEDED = {name: value for name, value in SAMPLES.items() if not name.startswith("AUTH_") or name == "AUTH_SECRET"}


def settings_with(**given: str) -> Settings:
    """Return settings with these values by name; raises SettingError for an invalid one."""
    return read_settings({**_NEEDED, **given})
