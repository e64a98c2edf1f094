"""The version, in one place that imports nothing."""

from typing import Final

VERSION: Final = "0.1.0"
