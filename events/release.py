"""The release of this package that runs. Only pyproject.toml says which it is."""

from functools import cache
from pathlib import Path

_NAME = "celery-domain-events"
_UNKNOWN = "0+unknown"  # a copy without an installer's metadata; tools that compare versions can read it


@cache
def own_version() -> str:
    """The version of this code, such as `0.1.0`.

    A checkout is asked first: what is installed besides may be another release, and an editable installation knows only
    the version of the day on which it was made.
    """
    return _of_checkout(Path(__file__).parent.parent) or _of_installation()


def _of_checkout(folder: Path) -> str:
    import tomllib  # here, as below: `import events` shouldn't take the time

    try:
        match tomllib.loads((folder / "pyproject.toml").read_text("utf-8")):
            case {"project": {"name": name, "version": str(version)}} if name == _NAME:
                return version
    except (OSError, ValueError):
        pass  # no checkout, or the pyproject.toml of a project that copied this package
    return ""


def _of_installation() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(_NAME)
    except PackageNotFoundError:
        return _UNKNOWN
