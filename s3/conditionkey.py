"""The condition keys that policies may name. Pure.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
"""

from __future__ import annotations

_GLOBAL = """
CalledVia CalledViaFirst CalledViaLast CurrentTime Ec2InstanceSourceVpc EpochTime FederatedProvider MultiFactorAuthAge
MultiFactorAuthPresent PrincipalAccount PrincipalArn PrincipalIsAWSService
PrincipalOrgID PrincipalOrgPaths PrincipalServiceName PrincipalServiceNamesList
PrincipalType Referer RequestedRegion ResourceAccount ResourceOrgID ResourceOrgPaths SecureTransport SourceAccount SourceArn
SourceIdentity SourceIp SourceOrgID SourceOrgPaths SourceOwner SourceVpc SourceVpce TagKeys TokenIssueTime UserAgent userid username
ViaAWSService VpcSourceIp
"""
_OF_S3 = """
AccessGrantsInstanceArn AccessPointNetworkOrigin DataAccessPointAccount DataAccessPointArn ExistingJobOperation ExistingJobPriority
InventoryAccessibleOptionalFields JobSuspendedCause LocationConstraint ObjectCreationOperation RequestJobOperation RequestJobPriority
RequestObjectTagKeys ResourceAccount TlsVersion VersionId authType delimiter if-match if-none-match isReplicationPauseRequest
locationconstraint max-keys object-lock-legal-hold object-lock-mode object-lock-remaining-retention-days object-lock-retain-until-date
prefix signatureAge signatureversion versionid x-amz-acl x-amz-content-sha256 x-amz-copy-source x-amz-grant-full-control x-amz-grant-read
x-amz-grant-read-acp x-amz-grant-write x-amz-grant-write-acp x-amz-metadata-directive x-amz-object-ownership x-amz-server-side-encryption
x-amz-server-side-encryption-aws-kms-key-id x-amz-server-side-encryption-customer-algorithm x-amz-storage-class
x-amz-website-redirect-location
"""
_TAGGED = ("s3:existingobjecttag/", "s3:requestobjecttag/", "s3:buckettag/", "aws:resourcetag/", "aws:principaltag/", "aws:requesttag/")
"""Keys that end in the name of a tag."""
_KNOWN = frozenset([f"aws:{name.lower()}" for name in _GLOBAL.split()] + [f"s3:{name.lower()}" for name in _OF_S3.split()])

EXISTING_TAG = "s3:existingobjecttag/"
REQUEST_TAG = "s3:requestobjecttag/"


def is_condition_key(key: str) -> bool:
    """key: as `normal_key` gives it. Some are known, yet have no value here (those of AWS's networks and organisations)."""
    return key in _KNOWN or any(key.startswith(prefix) and len(key) > len(prefix) for prefix in _TAGGED)
