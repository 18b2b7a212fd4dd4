"""The addresses of our pages. Each is a `url`, not a tuple, or Flower's --url-prefix would lose its arguments."""

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
    arguments = {"backend": backend}
    return [
        url(r"/events", EventsTab, arguments, name="ledger_events"),
        url(r"/events/([^/]+)", EventPage, arguments, name="ledger_event"),
        url(r"/dead-letters", LettersTab, arguments, name="ledger_letters"),
        url(r"/dead-letters/selected", TickedAction, arguments, name="ledger_selected"),
        url(r"/dead-letters/jobs", JobList, arguments, name="ledger_jobs"),
        url(r"/dead-letters/stop", StopJob, arguments, name="ledger_stop"),
        url(r"/dead-letters/(replay|discard)", BulkAction, arguments, name="ledger_bulk"),
        url(r"/event-handlers", HandlersTab, arguments, name="ledger_handlers"),
        url(r"/event-handlers/(pause|resume)", SwitchAction, arguments, name="ledger_switch"),
        url(r"/api/task/revoke/(.+)", Revoke),
        url(r"/task/(.+)", TaskPage, arguments),  # its name stays Flower's
    ]
