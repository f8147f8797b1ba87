"""Every S3 operation there is, in one table: how a request names it, what permission it needs, who serves it.

Operations and their requests are botocore's service model; a test serialises each operation of the model and expects its own route.
An operation without a handler answers NotImplemented. A request that fits no route does too: nothing falls through to a neighbour.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from enum import Enum

import msgspec

from s3.errors import S3Error, not_implemented


class Level(Enum):
    SERVICE = "service"
    BUCKET = "bucket"
    OBJECT = "object"


class Route(msgspec.Struct, frozen=True):
    """One operation.

    query        parameters that must be there; "name=value" also fixes the value
    header       a header that must be there (lower case), b"" for none
    permission   S3's action name, as policies write it
    handler      "module.function" below s3.handlers, "" when the operation is not there (yet)
    also         names that botocore's model has for the very same request
    note         why there is no handler
    source       reads another object (x-amz-copy-source) and needs the right to
    form         its key, its headers and who sent it are in the body, a form
    """

    operation: str
    method: str
    level: Level
    query: tuple[str, ...] = ()
    header: bytes = b""
    permission: str = ""
    handler: str = ""
    also: tuple[str, ...] = ()
    note: str = ""
    source: bool = False
    form: bool = False

    @property
    def name_of_module(self) -> str:
        return self.handler.partition(".")[0]


_S, _B, _O = Level.SERVICE, Level.BUCKET, Level.OBJECT
ANYBODY = "anybody"
"""In place of a permission: asked without credentials, and its handler tells nothing that needs any."""
_LATER = "comes with the full S3 surface"
_NEVER = "belongs to an AWS service beside S3"
_DIRECTORY = "belongs to AWS's directory buckets"


def _configuration(subresource: str, name: str, action: str, verbs: str, note: str = _LATER, served: str = "") -> list[Route]:
    """Operations on one of a bucket's settings documents: G(et), P(ut), D(elete).

    served: "module.noun" for the handlers module.get_noun and so on, "" when they are not there (yet)
    """
    kinds = {"G": ("Get", "GET"), "P": ("Put", "PUT"), "D": ("Delete", "DELETE")}
    routes = []
    for verb in verbs:
        prefix, method = kinds[verb]
        permission = f"s3:{'Get' if verb == 'G' else 'Put'}{action}"
        handler = served.replace(".", f".{prefix.lower()}_")
        routes.append(
            Route(f"{prefix}{name}", method, _B, (subresource,), permission=permission, handler=handler, note="" if handler else note)
        )
    return routes


def _numbered(subresource: str, name: str, action: str) -> list[Route]:
    """Settings of which a bucket has several, by id: none can be made."""
    put, get, none = f"s3:Put{action}", f"s3:Get{action}", "unset.no_such_configuration"
    listing = f"unset.list_{subresource.replace('-', '_')}"
    return [
        Route(f"GetBucket{name}Configuration", "GET", _B, (subresource, "id"), permission=get, handler=none),
        Route(f"ListBucket{name}Configurations", "GET", _B, (subresource,), permission=get, handler=listing),
        Route(f"PutBucket{name}Configuration", "PUT", _B, (subresource,), permission=put, note=_NEVER),
        Route(f"DeleteBucket{name}Configuration", "DELETE", _B, (subresource,), permission=put, handler=none),
    ]


ROUTES: tuple[Route, ...] = (
    # the service and buckets
    Route("ListBuckets", "GET", _S, permission="s3:ListAllMyBuckets", handler="service.list_buckets", also=("ListDirectoryBuckets",)),
    Route("CreateBucket", "PUT", _B, permission="s3:CreateBucket", handler="bucket.create"),
    Route("DeleteBucket", "DELETE", _B, permission="s3:DeleteBucket", handler="bucket.delete"),
    Route("HeadBucket", "HEAD", _B, permission="s3:ListBucket", handler="bucket.head"),
    Route("GetBucketLocation", "GET", _B, ("location",), permission="s3:GetBucketLocation", handler="bucket.location"),
    Route("GetBucketVersioning", "GET", _B, ("versioning",), permission="s3:GetBucketVersioning", handler="bucket.get_versioning"),
    Route("PutBucketVersioning", "PUT", _B, ("versioning",), permission="s3:PutBucketVersioning", handler="bucket.put_versioning"),
    Route("GetBucketAcl", "GET", _B, ("acl",), permission="s3:GetBucketAcl", handler="acl.get_bucket_acl"),
    Route("PutBucketAcl", "PUT", _B, ("acl",), permission="s3:PutBucketAcl", handler="acl.put_bucket_acl"),
    # listings
    Route("ListObjects", "GET", _B, permission="s3:ListBucket", handler="listing.list_objects"),
    Route("ListObjectsV2", "GET", _B, ("list-type=2",), permission="s3:ListBucket", handler="listing.list_objects_v2"),
    Route("ListObjectVersions", "GET", _B, ("versions",), permission="s3:ListBucketVersions", handler="listing.list_object_versions"),
    # objects
    Route("GetObject", "GET", _O, permission="s3:GetObject", handler="read.get_object"),
    Route("HeadObject", "HEAD", _O, permission="s3:GetObject", handler="read.head_object"),
    Route("PutObject", "PUT", _O, permission="s3:PutObject", handler="write.put_object"),
    Route("CopyObject", "PUT", _O, header=b"x-amz-copy-source", permission="s3:PutObject", handler="copy.copy_object", source=True),
    Route("DeleteObject", "DELETE", _O, permission="s3:DeleteObject", handler="delete.delete_object"),
    Route("DeleteObjects", "POST", _B, ("delete",), permission="s3:DeleteObject", handler="delete.delete_objects"),
    Route("GetObjectAttributes", "GET", _O, ("attributes",), permission="s3:GetObject", handler="read.get_object_attributes"),
    Route("GetObjectTagging", "GET", _O, ("tagging",), permission="s3:GetObjectTagging", handler="tagging.get_tagging"),
    Route("PutObjectTagging", "PUT", _O, ("tagging",), permission="s3:PutObjectTagging", handler="tagging.put_tagging"),
    Route("DeleteObjectTagging", "DELETE", _O, ("tagging",), permission="s3:DeleteObjectTagging", handler="tagging.delete_tagging"),
    Route("GetObjectAcl", "GET", _O, ("acl",), permission="s3:GetObjectAcl", handler="acl.get_object_acl"),
    Route("PutObjectAcl", "PUT", _O, ("acl",), permission="s3:PutObjectAcl", handler="acl.put_object_acl"),
    # uploads in parts
    Route("CreateMultipartUpload", "POST", _O, ("uploads",), permission="s3:PutObject", handler="multipart.create_upload"),
    Route("UploadPart", "PUT", _O, ("partNumber", "uploadId"), permission="s3:PutObject", handler="multipart.upload_part"),
    Route(
        "UploadPartCopy",
        "PUT",
        _O,
        ("partNumber", "uploadId"),
        b"x-amz-copy-source",
        permission="s3:PutObject",
        handler="multipart.upload_part_copy",
        source=True,
    ),
    Route("CompleteMultipartUpload", "POST", _O, ("uploadId",), permission="s3:PutObject", handler="multipart.complete_upload"),
    Route("AbortMultipartUpload", "DELETE", _O, ("uploadId",), permission="s3:AbortMultipartUpload", handler="multipart.abort_upload"),
    Route("ListParts", "GET", _O, ("uploadId",), permission="s3:ListMultipartUploadParts", handler="multipart.list_parts"),
    Route("ListMultipartUploads", "GET", _B, ("uploads",), permission="s3:ListBucketMultipartUploads", handler="multipart.list_uploads"),
    # a bucket's settings
    *_configuration("tagging", "BucketTagging", "BucketTagging", "GPD", served="configuration.tagging"),
    *_configuration("cors", "BucketCors", "BucketCORS", "GPD", served="cors.cors"),
    *_configuration("policy", "BucketPolicy", "BucketPolicy", "GP", served="policy.policy"),
    Route("DeleteBucketPolicy", "DELETE", _B, ("policy",), permission="s3:DeleteBucketPolicy", handler="policy.delete_policy"),
    *_configuration("policyStatus", "BucketPolicyStatus", "BucketPolicyStatus", "G", served="policy.policy_status"),
    *_configuration("publicAccessBlock", "PublicAccessBlock", "BucketPublicAccessBlock", "GPD", served="ownership.public_access_block"),
    *_configuration(
        "ownershipControls", "BucketOwnershipControls", "BucketOwnershipControls", "GPD", served="ownership.ownership_controls"
    ),
    *_configuration("encryption", "BucketEncryption", "EncryptionConfiguration", "GPD", served="configuration.encryption"),
    Route(
        "GetBucketLifecycleConfiguration",
        "GET",
        _B,
        ("lifecycle",),
        permission="s3:GetLifecycleConfiguration",
        also=("GetBucketLifecycle",),
        handler="lifecycle.get_lifecycle",
    ),
    Route(
        "PutBucketLifecycleConfiguration",
        "PUT",
        _B,
        ("lifecycle",),
        permission="s3:PutLifecycleConfiguration",
        also=("PutBucketLifecycle",),
        handler="lifecycle.put_lifecycle",
    ),
    *_configuration("lifecycle", "BucketLifecycle", "LifecycleConfiguration", "D", served="lifecycle.lifecycle"),
    Route(
        "GetObjectLockConfiguration",
        "GET",
        _B,
        ("object-lock",),
        permission="s3:GetBucketObjectLockConfiguration",
        handler="lock.get_configuration",
    ),
    Route(
        "PutObjectLockConfiguration",
        "PUT",
        _B,
        ("object-lock",),
        permission="s3:PutBucketObjectLockConfiguration",
        handler="lock.put_configuration",
    ),
    *_configuration("logging", "BucketLogging", "BucketLogging", "GP", served="logging.logging"),
    *_configuration("website", "BucketWebsite", "BucketWebsite", "GPD", served="website.website"),
    *_configuration("requestPayment", "BucketRequestPayment", "BucketRequestPayment", "GP", served="configuration.request_payment"),
    *_configuration("accelerate", "BucketAccelerateConfiguration", "AccelerateConfiguration", "GP", served="configuration.acceleration"),
    Route(
        "GetBucketNotificationConfiguration",
        "GET",
        _B,
        ("notification",),
        permission="s3:GetBucketNotification",
        also=("GetBucketNotification",),
        handler="notification.get_notification",
    ),
    Route(
        "PutBucketNotificationConfiguration",
        "PUT",
        _B,
        ("notification",),
        permission="s3:PutBucketNotification",
        also=("PutBucketNotification",),
        handler="notification.put_notification",
    ),
    *_configuration("replication", "BucketReplication", "ReplicationConfiguration", "GD", served="unset.replication"),
    *_configuration("replication", "BucketReplication", "ReplicationConfiguration", "P", "comes with replication between regions"),
    *_configuration("abac", "BucketAbac", "BucketAbac", "GP", _NEVER),
    *_numbered("analytics", "Analytics", "AnalyticsConfiguration"),
    *_numbered("inventory", "Inventory", "InventoryConfiguration"),
    *_numbered("metrics", "Metrics", "MetricsConfiguration"),
    *_numbered("intelligent-tiering", "IntelligentTiering", "IntelligentTieringConfiguration"),
    # metadata tables
    *_configuration("metadataConfiguration", "BucketMetadataConfiguration", "BucketMetadataTableConfiguration", "GD", _NEVER),
    Route(
        "CreateBucketMetadataConfiguration",
        "POST",
        _B,
        ("metadataConfiguration",),
        permission="s3:CreateBucketMetadataTableConfiguration",
        note=_NEVER,
    ),
    *_configuration("metadataTable", "BucketMetadataTableConfiguration", "BucketMetadataTableConfiguration", "GD", _NEVER),
    Route(
        "CreateBucketMetadataTableConfiguration",
        "POST",
        _B,
        ("metadataTable",),
        permission="s3:CreateBucketMetadataTableConfiguration",
        note=_NEVER,
    ),
    *(
        Route(
            f"UpdateBucketMetadata{table}TableConfiguration",
            "PUT",
            _B,
            (f"metadata{table}Table",),
            permission=f"s3:UpdateBucketMetadata{table}TableConfiguration",
            note=_NEVER,
        )
        for table in ("Annotation", "Inventory", "Journal")
    ),
    # objects, the rest
    Route("GetObjectLegalHold", "GET", _O, ("legal-hold",), permission="s3:GetObjectLegalHold", handler="lock.get_legal_hold"),
    Route("PutObjectLegalHold", "PUT", _O, ("legal-hold",), permission="s3:PutObjectLegalHold", handler="lock.put_legal_hold"),
    Route("GetObjectRetention", "GET", _O, ("retention",), permission="s3:GetObjectRetention", handler="lock.get_retention"),
    Route("PutObjectRetention", "PUT", _O, ("retention",), permission="s3:PutObjectRetention", handler="lock.put_retention"),
    Route("RestoreObject", "POST", _O, ("restore",), permission="s3:RestoreObject", handler="restore.restore_object"),
    Route("RenameObject", "PUT", _O, ("renameObject",), permission="s3:PutObject", handler="rename.rename_object"),
    Route("UpdateObjectEncryption", "PUT", _O, ("encryption",), permission="s3:UpdateObjectEncryption", handler="encryption.update"),
    Route(
        "SelectObjectContent", "POST", _O, ("select", "select-type=2"), permission="s3:GetObject", note="AWS has closed it to new customers"
    ),
    Route("GetObjectTorrent", "GET", _O, ("torrent",), permission="s3:GetObjectTorrent", note="AWS has ended it"),
    Route("GetObjectAnnotation", "GET", _O, ("annotation", "annotationName"), permission="s3:GetObjectAnnotation", note=_NEVER),
    Route("ListObjectAnnotations", "GET", _O, ("annotation",), permission="s3:ListObjectAnnotations", note=_NEVER),
    Route("PutObjectAnnotation", "PUT", _O, ("annotation",), permission="s3:PutObjectAnnotation", note=_NEVER),
    Route("DeleteObjectAnnotation", "DELETE", _O, ("annotation",), permission="s3:DeleteObjectAnnotation", note=_NEVER),
    Route("CreateSession", "GET", _B, ("session",), permission="s3express:CreateSession", note=_DIRECTORY),
    Route(
        "WriteGetObjectResponse",
        "POST",
        _B,
        header=b"x-amz-request-route",
        permission="s3-object-lambda:WriteGetObjectResponse",
        note=_NEVER,
    ),
    # not in the model, but sent by browsers
    Route("PostObject", "POST", _B, permission="s3:PutObject", handler="post.post_object", form=True),
    Route("PreflightService", "OPTIONS", _S, permission=ANYBODY, handler="cors.preflight"),
    Route("PreflightBucket", "OPTIONS", _B, permission=ANYBODY, handler="cors.preflight"),
    Route("PreflightObject", "OPTIONS", _O, permission=ANYBODY, handler="cors.preflight"),
)

NOT_IN_MODEL = frozenset({"PostObject", "PreflightService", "PreflightBucket", "PreflightObject"})

PARAMETERS = frozenset(
    [
        "allow-unordered",
        "allow-reserved",
        "annotationName",
        "annotationPrefix",
        "bucket-region",
        "continuation-token",
        "continuationToken",
        "delimiter",
        "encoding-type",
        "fetch-owner",
        "id",
        "key-marker",
        "list-type",
        "marker",
        "max-annotations",
        "max-buckets",
        "max-directory-buckets",
        "max-keys",
        "max-parts",
        "max-uploads",
        "part-number-marker",
        "partNumber",
        "prefix",
        "response-cache-control",
        "response-content-disposition",
        "response-content-encoding",
        "response-content-language",
        "response-content-type",
        "response-expires",
        "start-after",
        "upload-id-marker",
        "uploadId",
        "version-id-marker",
        "versionId",
        "x-id",
    ]
)
"""Parameters that name no operation but belong to one; some may be sent empty."""


class _Candidates:
    """Routes of one method and level: those that a parameter names, by that parameter, and the plain ones; the most specific first."""

    def __init__(self, routes: Iterable[Route]) -> None:
        ordered = sorted(routes, key=lambda route: (-len(route.query), not route.header))
        self.plain = [route for route in ordered if not route.query]
        self.named: dict[str, list[Route]] = {}
        for route in ordered:
            for condition in route.query:
                self.named.setdefault(condition.partition("=")[0], []).append(route)


_TABLE: dict[tuple[str, Level], _Candidates] = {
    (method, level): _Candidates(route for route in ROUTES if route.method == method and route.level is level)
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS")
    for level in Level
}
SUBRESOURCES = frozenset(condition.partition("=")[0] for route in ROUTES for condition in route.query) - PARAMETERS
"""Parameters that name an operation."""

_OF_PARTS = ("partNumber", "uploadId")


def match(method: str, level: Level, query: Mapping[str, str], headers: Container[bytes]) -> Route:
    """The operation a request names. Raises: S3Error NotImplemented or MethodNotAllowed when it names none that is known."""
    candidates = _TABLE.get((method, level))
    if candidates is None:
        raise S3Error("MethodNotAllowed", Method=method)
    if query and method != "OPTIONS":  # a browser asks with the URL that it is going to use
        found = _named(candidates, query, headers)
        if found is not None:
            return found
        for name, value in query.items():
            if name in SUBRESOURCES or (not value and name not in PARAMETERS and not name.lower().startswith("x-")):
                raise not_implemented(f"{method} with the query parameter {name}")
            if name in _OF_PARTS and method != "GET" and method != "HEAD":
                raise S3Error("InvalidArgument", "This operation does not accept a query-string.", ArgumentName=name, ArgumentValue=value)
    for route in candidates.plain:
        if not route.header or route.header in headers:
            return route
    raise S3Error("MethodNotAllowed", Method=method)


def _named(candidates: _Candidates, query: Mapping[str, str], headers: Container[bytes]) -> Route | None:
    best: Route | None = None
    for name in query:
        for route in candidates.named.get(name, ()):
            if (best is None or _rank(route) > _rank(best)) and _fits(route, query, headers):
                best = route
    return best


def _rank(route: Route) -> tuple[int, bool]:
    return len(route.query), bool(route.header)


def _fits(route: Route, query: Mapping[str, str], headers: Container[bytes]) -> bool:
    for condition in route.query:
        name, fixed, value = condition.partition("=")
        if name not in query or (fixed and query[name] != value):
            return False
    return not route.header or route.header in headers
