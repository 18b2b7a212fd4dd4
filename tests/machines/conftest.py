"""Random programs, against every store."""

from support.databases import url

__all__ = ["url"]
