"""S3's error codes, and the one place where the store's errors become them.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

from collections.abc import Mapping

from node import errors as node_errors
from s3.xml import escape

CODES: Mapping[str, tuple[int, str]] = {
    "AccessControlListNotSupported": (400, "The bucket does not allow ACLs"),
    "AmbiguousGrantByEmailAddress": (400, "The email address that you provided is associated with more than one account."),
    "InvalidBucketAclWithObjectOwnership": (400, "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting"),
    "MalformedACLError": (
        400,
        "The ACL that you provided was not well formed or did not validate against our published schema.",
    ),
    "MalformedPolicy": (400, "This policy contains invalid Json"),
    "NoSuchBucketPolicy": (404, "The bucket policy does not exist"),
    "NoSuchPublicAccessBlockConfiguration": (404, "The public access block configuration was not found"),
    "OwnershipControlsNotFoundError": (404, "The bucket ownership controls were not found"),
    "UnresolvableGrantByEmailAddress": (400, "The email address that you provided does not match any account on record."),
    "AccessDenied": (403, "Access Denied"),
    "AccessForbidden": (403, "Access Forbidden"),
    "AuthorizationHeaderMalformed": (400, "The authorization header that you provided is not valid."),
    "AuthorizationQueryParametersError": (400, "The authorization query parameters that you provided are not valid."),
    "BadRequest": (400, "Bad Request"),
    "BadDigest": (400, "The Content-MD5 or checksum value that you specified did not match what the server received."),
    "BucketAlreadyExists": (409, "The requested bucket name is not available. The bucket namespace is shared by all users of the system."),
    "BucketAlreadyOwnedByYou": (409, "The bucket that you tried to create already exists, and you own it."),
    "BucketNotEmpty": (409, "The bucket that you tried to delete is not empty."),
    "EncryptionTypeMismatch": (400, "The existing object was created with a different encryption type."),
    "EntityTooLarge": (400, "Your proposed upload exceeds the maximum allowed object size."),
    "EntityTooSmall": (400, "Your proposed upload is smaller than the minimum allowed object size."),
    "ConditionalRequestConflict": (
        409,
        "A conflicting operation occurred while a conditional request for the resource was in progress. Try again.",
    ),
    "IdempotencyParameterMismatch": (400, "This client token was used before, with other parameters."),
    "IllegalLocationConstraintException": (400, "The location constraint does not match the region of this endpoint."),
    "IncompleteBody": (400, "You did not provide the number of bytes specified by the Content-Length HTTP header."),
    "IncorrectNumberOfFilesInPostRequest": (400, "POST requires exactly one file upload per request."),
    "InsufficientStorage": (507, "There is no space left for this request. Deletes still work."),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "InvalidAccessKeyId": (403, "The access key ID that you provided does not exist in our records."),
    "InvalidArgument": (400, "Invalid Argument"),
    "InvalidBucketState": (409, "The request is not valid for the current state of the bucket."),
    "InvalidBucketName": (400, "The specified bucket is not valid."),
    "InvalidDigest": (400, "The Content-MD5 that you specified is not valid."),
    "InvalidEncryptionAlgorithmError": (400, "The Encryption request you specified is not valid. Supported value: AES256."),
    "InvalidLocationConstraint": (400, "The specified location constraint is not valid."),
    "InvalidObjectState": (403, "The operation is not valid for the object's storage class."),
    "InvalidPart": (
        400,
        "One or more of the specified parts could not be found. The part may not have been uploaded, or the "
        "specified entity tag may not match the part's entity tag.",
    ),
    "InvalidPartNumber": (416, "The requested partnumber is not satisfiable."),
    "InvalidPartOrder": (400, "The list of parts was not in ascending order. The parts list must be specified in order by part number."),
    "InvalidPolicyDocument": (400, "The content of the form does not meet the conditions specified in the policy document."),
    "InvalidRange": (416, "The requested range is not satisfiable."),
    "InvalidRedirectLocation": (
        400,
        "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
    ),
    "InvalidRequest": (400, "The request is not valid."),
    "InvalidStorageClass": (400, "The storage class that you specified is not valid."),
    "InvalidTag": (400, "The tag provided was not a valid tag."),
    "InvalidTargetBucketForLogging": (
        400,
        "The target bucket for logging does not exist, is not owned by you, or does not have the appropriate grants for the "
        "log-delivery group.",
    ),
    "InvalidToken": (400, "The provided token is malformed or otherwise not valid."),
    "InvalidWriteOffset": (400, "The write offset value that you specified does not match the current object size."),
    "InvalidURI": (400, "Couldn't parse the specified URI."),
    "KMS.DisabledException": (400, "The key is disabled."),
    "KMS.NotFoundException": (400, "The key does not exist."),
    "KeyTooLongError": (400, "Your key is too long."),
    "MalformedPOSTRequest": (400, "The body of your POST request is not well-formed multipart/form-data."),
    "MalformedTrailerError": (
        400,
        "The request contained trailing data that was not well-formed or did not conform to our published schema.",
    ),
    "MalformedXML": (400, "The XML that you provided was not well formed or did not validate against our published schema."),
    "MaxMessageLengthExceeded": (400, "Your request was too large."),
    "MaxPostPreDataLengthExceededError": (400, "Your POST request fields preceding the upload file were too large."),
    "MetadataTooLarge": (400, "Your metadata headers exceed the maximum allowed metadata size."),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "MissingContentLength": (411, "You must provide the Content-Length HTTP header."),
    "MissingRequestBodyError": (400, "Request body is empty."),
    "MissingSecurityHeader": (400, "Your request was missing a required header."),
    "NoSuchBucket": (404, "The specified bucket does not exist."),
    "NoSuchCORSConfiguration": (404, "The CORS configuration does not exist"),
    "NoSuchConfiguration": (404, "The specified configuration does not exist."),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchLifecycleConfiguration": (404, "The lifecycle configuration does not exist"),
    "NoSuchObjectLockConfiguration": (404, "The specified object does not have a ObjectLock configuration"),
    "NoSuchTagSet": (404, "The TagSet does not exist."),
    "NoSuchUpload": (
        404,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
    ),
    "NoSuchVersion": (404, "The specified version does not exist."),
    "NoSuchWebsiteConfiguration": (404, "The specified bucket does not have a website configuration"),
    "NotImplemented": (501, "A header you provided implies functionality that is not implemented."),
    "NotModified": (304, "Not Modified"),
    "ObjectLockConfigurationNotFoundError": (404, "Object Lock configuration does not exist for this bucket"),
    "OperationAborted": (409, "A conflicting conditional operation is currently in progress against this resource. Try again."),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold."),
    "QuotaExceeded": (403, "The quota of this bucket is used up."),
    "ReplicationConfigurationNotFoundError": (404, "The replication configuration was not found"),
    "RestoreAlreadyInProgress": (409, "Object restore is already in progress."),
    "RequestHeaderSectionTooLarge": (400, "Your request header section exceeds the maximum allowed size."),
    "RequestTimeTooSkewed": (403, "The difference between the request time and the server's time is too large."),
    "RequestTimeout": (400, "Your socket connection to the server was not read from or written to within the timeout period."),
    "ServerSideEncryptionConfigurationNotFoundError": (404, "The server side encryption configuration was not found"),
    "ServiceUnavailable": (503, "Service is unable to handle the request. Please try again."),
    "SignatureDoesNotMatch": (
        403,
        "The request signature that the server calculated does not match the signature that you provided. "
        "Check your secret access key and signing method.",
    ),
    "SlowDown": (503, "Please reduce your request rate."),
    "TooManyParts": (
        400,
        "You have attempted to add more parts than the maximum of 10000 that are allowed for this object. You can use the CopyObject "
        "operation to copy this object to another and then add more data to the newly copied object.",
    ),
    "UnexpectedContent": (400, "This request contains unsupported content."),
    "UserKeyMustBeSpecified": (
        400,
        "The bucket POST must contain the specified field name. If it is specified, check the order of the fields.",
    ),
    "XAmzContentChecksumMismatch": (400, "The provided 'x-amz-checksum' header does not match what was computed."),
    "XAmzContentSHA256Mismatch": (400, "The provided 'x-amz-content-sha256' header does not match what was computed."),
}


class S3Error(node_errors.FrazilError):
    """An answer that refuses: S3's code, a message, extra elements of the XML body, extra headers. Status and words come from CODES."""

    def __init__(self, code: str, message: str = "", *, headers: tuple[tuple[bytes, bytes], ...] = (), **details: str) -> None:
        self.status, standard = CODES[code]
        self._code = code
        self.message = message or standard
        self.headers = headers
        self.details = details
        super().__init__(f"{code}: {self.message}")

    @property
    def code(self) -> str:
        return self._code


def not_implemented(what: str) -> S3Error:
    return S3Error("NotImplemented", f"{what} is not implemented.")


def invalid_argument(message: str, name: str, value: str) -> S3Error:
    return S3Error("InvalidArgument", message, ArgumentName=name, ArgumentValue=value)


_FROM_STORE: tuple[tuple[type[node_errors.FrazilError], str], ...] = (
    (node_errors.BucketNotFound, "NoSuchBucket"),
    (node_errors.BaseNotFound, "NoSuchBucket"),
    (node_errors.ObjectNotFound, "NoSuchKey"),
    (node_errors.VersionNotFound, "NoSuchVersion"),
    (node_errors.UploadNotFound, "NoSuchUpload"),
    (node_errors.KeyPairNotFound, "InvalidAccessKeyId"),
    (node_errors.BucketTaken, "BucketAlreadyExists"),
    (node_errors.BucketOwned, "BucketAlreadyOwnedByYou"),
    (node_errors.BucketNotEmpty, "BucketNotEmpty"),
    (node_errors.PreconditionFailed, "PreconditionFailed"),
    (node_errors.NotModified, "NotModified"),
    (node_errors.Superseded, "OperationAborted"),
    (node_errors.TokenReused, "IdempotencyParameterMismatch"),
    (node_errors.Locked, "AccessDenied"),
    (node_errors.InvalidBucketState, "InvalidBucketState"),
    (node_errors.IsDeleteMarker, "MethodNotAllowed"),
    (node_errors.ContentCold, "InvalidObjectState"),
    (node_errors.QuotaExceeded, "QuotaExceeded"),
    (node_errors.BodyTooLarge, "EntityTooLarge"),
    (node_errors.BodyIncomplete, "IncompleteBody"),
    (node_errors.BodyTooSlow, "RequestTimeout"),
    (node_errors.ChecksumMismatch, "BadDigest"),
    (node_errors.VolumeFull, "InsufficientStorage"),
    (node_errors.Busy, "SlowDown"),
    (node_errors.DeadlineExceeded, "SlowDown"),
    (node_errors.Unavailable, "ServiceUnavailable"),
    (node_errors.NotImplementedYet, "NotImplemented"),
    (node_errors.Denied, "AccessDenied"),
    (node_errors.BadRequest, "InvalidArgument"),
    (node_errors.Conflict, "OperationAborted"),
    (node_errors.FrazilError, "InternalError"),
)
"""First match wins, so leaves stand before their parents. Damage and anything else is InternalError: its message stays in our log."""

_SAYS_ITS_MESSAGE = frozenset({"InvalidArgument", "InvalidBucketState", "EntityTooLarge", "QuotaExceeded"})
_NAMED_LIKE_S3 = frozenset(
    {
        "InvalidWriteOffset",
        "TooManyParts",
        "ConditionalRequestConflict",
        "InvalidPart",
        "InvalidPartOrder",
        "EntityTooSmall",
        "InvalidObjectState",
    }
)
"""Leaves of the object layer that bear S3's own names."""


def to_s3(error: node_errors.FrazilError) -> S3Error:
    """The S3 error for one of the store's; S3's own pass through."""
    if isinstance(error, S3Error):
        return error
    if error.code in _NAMED_LIKE_S3:
        named = S3Error(error.code)
        named.details.update(getattr(error, "details", {}))
        return named
    code = next(code for kind, code in _FROM_STORE if isinstance(error, kind))
    return S3Error(code, str(error) if code in _SAYS_ITS_MESSAGE else "")


def error_document(error: S3Error, *, resource: str, request_id: str, host_id: str) -> bytes:
    details = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in error.details.items())
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{error.code}</Code><Message>{escape(error.message)}</Message>{details}"
        f"<Resource>{escape(resource)}</Resource><RequestId>{request_id}</RequestId><HostId>{host_id}</HostId></Error>"
    ).encode()
