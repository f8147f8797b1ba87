"""Who pays for requests, and transfer acceleration: of AWS's bill and network only the plain states can be true here. Pure."""

from __future__ import annotations

from typing import Literal

from s3.configuration import Configuration
from s3.errors import not_implemented
from s3.shape import Shape


class RequestPayment(Shape, frozen=True):
    payer: Literal["Requester", "BucketOwner"]


class Acceleration(Shape, frozen=True):
    status: Literal["Enabled", "Suspended"] | None = None


def _payment(payment: RequestPayment) -> RequestPayment:
    """Raises: NotImplemented: nobody is billed, so a promise that others pay would be empty."""
    if payment.payer == "Requester":
        raise not_implemented("Payment by the requester")
    return payment


def _acceleration(acceleration: Acceleration) -> Acceleration:
    """Raises: NotImplemented."""
    if acceleration.status == "Enabled":
        raise not_implemented("Transfer acceleration")
    return acceleration


REQUEST_PAYMENT = Configuration(
    "requestPayment", "RequestPaymentConfiguration", RequestPayment, default=RequestPayment("BucketOwner"), checked=_payment
)
ACCELERATION = Configuration("accelerate", "AccelerateConfiguration", Acceleration, default=Acceleration(), checked=_acceleration)
