"""Pages of the shop."""

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from events import publish
from orders.facts import OrderPlaced
from orders.models import Order


@csrf_exempt
@require_POST
def place_order(request: HttpRequest) -> JsonResponse:
    """The order and its event are committed together, or neither is."""
    with transaction.atomic():
        order = Order.objects.create(article=request.POST["article"], pieces=int(request.POST["pieces"]))
        publish(OrderPlaced(order=order.pk, article=order.article, pieces=order.pieces))
    return JsonResponse({"order": order.pk}, status=201)
