"""Which release of this package runs. pyproject.toml says so, and nothing else does."""

from functools import cache
from pathlib import Path

_NAME = "celery-domain-events"
_UNKNOWN = "0+unknown"  # copied here without what an installer writes down; a version to whoever compares versions


@cache
def own_version() -> str:
    """The version of this code, such as `0.1.0`.

    A checkout is asked first: what is installed besides may be another release, and an editable installation knows only
    the version of the day on which it was made.
    """
    return _of_checkout(Path(__file__).parent.parent) or _of_installation()


def _of_checkout(folder: Path) -> str:
    import tomllib  # here, as below: `import events` need not pay for it

    try:
        match tomllib.loads((folder / "pyproject.toml").read_text("utf-8")):
            case {"project": {"name": name, "version": str(version)}} if name == _NAME:
                return version
    except (OSError, ValueError):
        pass  # it's installed, or that file is another project's, which copied us
    return ""


def _of_installation() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(_NAME)
    except PackageNotFoundError:
        return _UNKNOWN
