"""The notification configuration. Its destinations must be webhooks of the operator's, and hear of it by a test event."""

from __future__ import annotations

from meta.spool import Record
from s3.call import Call
from s3.errors import S3Error
from s3.handlers.configuration import getter, keep, received
from s3.moment import iso_date
from s3.notification import NOTIFICATION, Notification, trial_message
from s3.outbox import topic_of

get_notification = getter(NOTIFICATION)


async def put_notification(call: Call) -> None:
    """Without destinations it turns notifications off."""
    notification = await received(call, NOTIFICATION)
    if call.text(b"x-amz-skip-destination-validation").lower() != "true":
        _check_destinations(call, notification)
        await _send_tests(call, notification)
    await keep(call, NOTIFICATION, notification if notification.targets else None)
    await call.answer(200)


def _check_destinations(call: Call, notification: Notification) -> None:
    for target in notification.targets:
        webhook = call.services.webhooks.find(target.webhook)
        if webhook is None or not webhook.serves(call.settings.account):
            raise S3Error(
                "InvalidArgument",
                "Unable to validate the following destination configurations",
                ArgumentName1=target.arn,
                ArgumentValue1=f"The destination is not registered; the operator does it by: frazil webhook add {target.webhook} URL",
            )


async def _send_tests(call: Call, notification: Notification) -> None:
    """Once for each topic and queue, as S3 does; functions get none."""
    now_us = int(call.services.now_s() * 1_000_000)
    body = trial_message(time=iso_date(now_us), bucket=call.bucket, request_id=call.request.id, host_id=call.services.options.host_id)
    names = dict.fromkeys(target.webhook for target in (*notification.topics, *notification.queues))
    if names:
        await call.services.outbox.events.add([Record(topic_of(call.settings.account, name), call.bucket, now_us, body) for name in names])
