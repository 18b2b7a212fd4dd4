"""The folders of Python and of installed packages: a file elsewhere is the application's."""

import sysconfig

LIBRARIES = tuple({*(sysconfig.get_paths()[kind] for kind in ("stdlib", "purelib", "platlib")), "<frozen"})
