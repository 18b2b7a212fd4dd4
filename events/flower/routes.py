"""Where our pages are. `url`, and not a tuple: so Flower's --url-prefix keeps what is given to them."""

from tornado.web import url

from events.flower.backend import Backend
from events.flower.bulk_actions import BulkAction, JobList, StopJob
from events.flower.dead_letters_tab import LettersTab
from events.flower.event_page import EventPage
from events.flower.events_tab import EventsTab
from events.flower.handlers_tab import HandlersTab, SwitchAction
from events.flower.revoke import Revoke
from events.flower.task_page import TaskPage
from events.flower.ticked import TickedAction


def routes(backend: Backend) -> list[url]:
    given = {"backend": backend}
    return [
        url(r"/events", EventsTab, given, name="ledger_events"),
        url(r"/events/([^/]+)", EventPage, given, name="ledger_event"),
        url(r"/dead-letters", LettersTab, given, name="ledger_letters"),
        url(r"/dead-letters/selected", TickedAction, given, name="ledger_selected"),
        url(r"/dead-letters/jobs", JobList, given, name="ledger_jobs"),
        url(r"/dead-letters/stop", StopJob, given, name="ledger_stop"),
        url(r"/dead-letters/(replay|discard)", BulkAction, given, name="ledger_bulk"),
        url(r"/event-handlers", HandlersTab, given, name="ledger_handlers"),
        url(r"/event-handlers/(pause|resume)", SwitchAction, given, name="ledger_switch"),
        url(r"/api/task/revoke/(.+)", Revoke),
        url(r"/task/(.+)", TaskPage, given),  # its name stays Flower's
    ]
