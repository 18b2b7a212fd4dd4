"""Every error of ours is in one module, and in the tree that its docstring draws."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

import events
from events import errors
from events.errors import EventsError

# What can't be imported here: programs that begin when they are, what others' Alembic runs, and models of Django.
_PROGRAMS = re.compile(r"events\.__main__|events\.celery|events\.store\.migrations\..*|events\.django\..*")


def import_everything() -> None:
    """Each module may define errors."""
    for module in pkgutil.walk_packages(events.__path__, "events."):
        if not _PROGRAMS.fullmatch(module.name):
            importlib.import_module(module.name)


def ours(of: type[EventsError] = EventsError) -> Iterator[type[EventsError]]:
    """Those that the package defines; tests have some of their own."""
    for kind in of.__subclasses__():
        if kind.__module__.partition(".")[0] == "events":
            yield kind
        yield from ours(kind)


def drawn() -> dict[str, str]:
    """Each error of the tree to the one that it hangs from."""
    found, above = {}, ["EventsError"]
    for branch, name in re.findall(r"^    ([│ ]*)[├└]── (\w+)  +\S.*$", errors.__doc__ or "", re.MULTILINE):
        depth = len(branch) // 4
        del above[depth + 1 :]
        found[name] = above[-1]
        above.append(name)
    return found


def test_each_error_is_in_the_module_of_errors_and_in_its_tree() -> None:
    # Given all modules, any of which may define an error
    import_everything()
    defined = set(ours())
    # Then each error is defined where users look for it, which is also the name that failures are stored under
    assert {kind.__module__ for kind in defined} == {"events.errors"}
    # And the tree is drawn as the classes are
    assert drawn() == {kind.__name__: kind.__bases__[0].__name__ for kind in defined}


def test_what_is_raised_for_neighbours_alone_is_known() -> None:
    # Given all modules
    import_everything()

    def below(kind: type[BaseException]) -> Iterator[type[BaseException]]:
        for one in kind.__subclasses__():
            yield one
            yield from below(one)

    # Then what stands apart from the tree is caught within its own folder, but for RetryAfter, a handler's wish
    apart = {f"{one.__module__}.{one.__name__}" for one in below(Exception) if not issubclass(one, EventsError)}
    assert {name for name in apart if name.startswith("events.") and not _PROGRAMS.fullmatch(name)} == {
        "events.bridges.arrival.OwnEvent",
        "events.bridges.http.reading.Refused",
        "events.bridges.nats.acks.NoStream",
        "events.bridges.nats.stream.Unfit",
        "events.definition.masks._NoWayIn",
        "events.delivery.outages.GaveUp",
        "events.flower.complaints.Complaint",
        "events.flower.jobs.TooMany",
        "events.retry.RetryAfter",
        "events.store.database.availability.PoolExhausted",
        "events.worker.plain_tasks.sending._Unwritable",
    }
