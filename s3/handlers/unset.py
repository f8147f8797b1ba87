"""Settings that no bucket here can have (yet).

The answers are AWS's for a bucket that has none, so that tools which read all settings go on.
"""

from __future__ import annotations

from s3.call import Call
from s3.errors import S3Error
from s3.handlers.configuration import Handler
from s3.xml import DECLARATION, NAMESPACE


async def get_replication(call: Call) -> None:
    raise S3Error("ReplicationConfigurationNotFoundError", BucketName=call.bucket)


async def delete_replication(call: Call) -> None:
    await call.answer(204)


async def no_such_configuration(call: Call) -> None:
    """Of those that have ids: to get or delete one."""
    raise S3Error("NoSuchConfiguration", BucketName=call.bucket)


def _empty_list(root: str) -> Handler:
    async def answer(call: Call) -> None:
        await call.answer_xml(f'{DECLARATION}<{root} xmlns="{NAMESPACE}"><IsTruncated>false</IsTruncated></{root}>')

    return answer


list_analytics = _empty_list("ListBucketAnalyticsConfigurationsResult")
list_inventory = _empty_list("ListInventoryConfigurationsResult")
list_metrics = _empty_list("ListMetricsConfigurationsResult")
list_intelligent_tiering = _empty_list("ListBucketIntelligentTieringConfigurationsOutput")
