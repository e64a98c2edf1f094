"""The plugin machinery: markers, hook specifications, discovery and the typed registry."""

from wavelock.plugins.markers import PROJECT, hookimpl, hookspec

__all__ = ["PROJECT", "hookimpl", "hookspec"]
