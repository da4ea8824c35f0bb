"""Build hook placeholder; replaced by the page's build."""

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageBuildHook(BuildHookInterface):
    """Builds nothing yet."""
