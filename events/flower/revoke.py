"""Flower's buttons Revoke and Terminate: they say what became of it, and the history who it was."""

from typing import Any

from flower.api.control import TaskRevoke
from tornado.web import authenticated

from events.flower.access import actor, why_actions_are_off

_ANSWER_WITHIN = 2.0  # seconds
_NOBODY = "no worker has answered"


class Revoke(TaskRevoke):  # type: ignore[misc]
    """/api/task/revoke/<id>. All tasks that Flower shows of us are deliveries; the workers decide."""

    @authenticated
    async def post(self, task_id: str) -> None:
        options = self.application.options
        if reason := why_actions_are_off(options):
            self._say(403, reason)
            return
        asked = {
            "task_id": task_id,
            "terminate": self.get_argument("terminate", "false").lower() in ("true", "1"),
            "signal": self.get_argument("signal", "SIGTERM"),
            "actor": actor(options, self.current_user, self.request.headers.get("Authorization", "")),
        }
        answers = await self.run_blocking("task.revoke", task_id, self._ask, asked)
        said = [one for answer in answers or () for one in answer.values() if isinstance(one, dict)]
        if done := [one["ok"] for one in said if "ok" in one]:
            self.write({"message": done[0]})
        else:
            self._say(409, next((one["error"] for one in said if "error" in one), _NOBODY))

    def _ask(self, asked: dict[str, Any]) -> Any:
        return self.capp.control.broadcast("revoke", arguments=asked, reply=True, timeout=_ANSWER_WITHIN)

    def _say(self, status: int, text: str) -> None:
        """Flower's page shows it as it is."""
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(text)
