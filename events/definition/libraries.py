"""Whose code a file is: the application's, or that of Python and of what is installed."""

import sysconfig

LIBRARIES = tuple({*(sysconfig.get_paths()[kind] for kind in ("stdlib", "purelib", "platlib")), "<frozen"})
