"""The admin: who may look sees the ledger without secrets; who may act replays and discards dead letters, by name."""

from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import TestCase
from django.urls import reverse

from books.happenings import BookPlanned, BookPraised
from books.planning import planned
from events import publish
from events.current_pipeline import get_pipeline
from events.django.models import DeadLetter, Delivery, Event
from events.django.testing import run_pending


class Admin(TestCase):
    letter: DeadLetter

    def setUp(self) -> None:
        @planned
        def fail(event: BookPlanned) -> None:
            raise LookupError("no <paper>")

        publish([BookPlanned(title="Dune", plan="fail"), BookPraised(title="Emma", reader="a secret")])
        run_pending(raises=False)
        self.letter = DeadLetter.objects.get()

    def log_in(self, *permissions: str) -> None:
        user = User.objects.create_user("ada", password="x", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        self.client.force_login(user)

    def page(self, model: Any, key: object = None) -> str:
        name = model._meta.model_name
        url = reverse(f"admin:events_ledger_{name}_changelist")
        if key is not None:
            url = reverse(f"admin:events_ledger_{name}_change", args=[key])
        answer = self.client.get(url)
        self.assertEqual(answer.status_code, 200, url)
        return answer.content.decode()

    def act(self, action: str) -> str:
        url = reverse("admin:events_ledger_deadletter_changelist")
        chosen = {"action": action, "_selected_action": [self.letter.pk]}
        return self.client.post(url, chosen, follow=True).content.decode()

    def test_lists_and_pages(self) -> None:
        self.log_in("view_event", "view_delivery", "view_deadletter")
        self.assertIn("BookPlanned", self.page(Event))
        self.assertIn("count_plans", self.page(Delivery))
        self.assertIn("no &lt;paper&gt;", self.page(DeadLetter))
        letter = self.page(DeadLetter, self.letter.pk)
        self.assertIn("LookupError", letter)
        self.assertIn("cases_admin.py", letter)  # of the traceback
        event = self.page(Event, self.letter.event_id)
        for words in ("&quot;title&quot;: &quot;Dune&quot;", "count_plans", "failed, dead"):
            self.assertIn(words, event)
        self.assertIn("succeeded", self.page(Delivery, f"{self.letter.event_id}~count_plans"))

    def test_secrets_are_hidden(self) -> None:
        self.log_in("view_event")
        get_pipeline().subscribe()
        page = self.page(Event, Event.objects.get(event_type="BookPraised").pk)
        self.assertIn("Emma", page)
        self.assertNotIn("a secret", page)

    def test_filters_and_searches(self) -> None:
        self.log_in("view_event", "view_delivery", "view_deadletter")
        event_id = self.letter.event_id
        for name, query, count in [
            ("event", f"q={event_id}", 1), ("event", "q=Emma", 1), ("event", "q=nobody", 0),
            ("delivery", f"q={event_id}", 2), ("delivery", "q=nonsense", 0), ("delivery", "state=dead", 1),
            ("delivery", "handler=count_plans", 1), ("delivery", "event_type=BookPlanned&o=2", 2),
            ("deadletter", "handler=carry_out", 1), ("deadletter", "handler=count_plans", 0),
        ]:  # fmt: skip
            with self.subTest(f"{name} {query}"):
                answer = self.client.get(reverse(f"admin:events_ledger_{name}_changelist") + "?" + query)
                self.assertEqual(answer.status_code, 200)
                self.assertEqual(answer.context["cl"].result_count, count)

    def test_nobody_adds_changes_or_deletes(self) -> None:
        user = User.objects.create_superuser("root", password="x")
        self.client.force_login(user)
        for url in (reverse("admin:events_ledger_event_add"),
                    reverse("admin:events_ledger_deadletter_delete", args=[self.letter.pk])):  # fmt: skip
            self.assertEqual(self.client.post(url, {"post": "yes"}).status_code, 403)
        self.page(Event, self.letter.event_id)
        self.assertIn("1 dead letter replayed", self.act("replay"))

    def test_a_dead_letter_is_replayed_by_who_may(self) -> None:
        self.log_in("view_deadletter", "replay_deadletter")
        self.assertIn("1 dead letter replayed", self.act("replay"))
        delivery = Delivery.objects.get(handler="carry_out")
        self.assertEqual((delivery.state, DeadLetter.objects.count()), ("pending", 0))
        actions = get_pipeline().history.event(self.letter.event_id).actions
        self.assertEqual([(one.action, one.actor) for one in actions], [("replay", "ada (admin)")])
        self.assertNotIn("replayed", self.act("discard").partition("</ul>")[0])

    def test_or_discarded(self) -> None:
        self.log_in("view_deadletter", "discard_deadletter")
        self.assertIn("1 dead letter discarded", self.act("discard"))
        self.assertEqual(Delivery.objects.get(handler="carry_out").state, "discarded")

    def test_not_by_others(self) -> None:
        self.log_in("view_deadletter")
        self.act("replay")
        self.act("discard")
        self.assertEqual(DeadLetter.objects.count(), 1)
        self.client.logout()
        self.assertEqual(self.client.get(reverse("admin:events_ledger_deadletter_changelist")).status_code, 302)
