"""Sees to it that there is a Chromium for the tests that look at pages: as root on Debian, from apt-get."""

import os
import shutil
import sys

from support.private_servers import apt_get, say

PROGRAMS = ("chromium", "chromedriver")
PACKAGES = ("chromium", "chromium-driver", "fonts-dejavu-core")


def missing() -> list[str]:
    return [program for program in PROGRAMS if shutil.which(program) is None]


def main() -> int:
    if not missing():
        return 0
    reason = "no apt-get, or not root"
    if os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"chromium: installing {' and '.join(PACKAGES)} with apt-get")
        apt_get("update")  # if it fails, what is known already may do
        reason = apt_get("install", "--no-install-recommends", *PACKAGES)
    if absent := missing():
        say(f"{' and '.join(absent)} not found, and not installed: {reason}. Its tests are skipped.")
        return int(os.environ.get("CI") == "true")
    return 0


if __name__ == "__main__":
    sys.exit(main())
