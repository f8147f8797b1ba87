"""What of a request the decision is asked about."""

from __future__ import annotations

import botocore.session

from s3.access import OF_A_VERSION
from s3.action import ACTIONS, OF_VERSIONS, actions_of
from s3.router import Level

MODEL = botocore.session.get_session().get_service_model("s3")


def test_the_operations_of_a_version_are_those_that_can_name_one() -> None:
    def names_version(operation: str) -> bool:
        shape = MODEL.operation_model(operation).input_shape
        return shape is not None and any(
            (member.serialization.get("location"), member.serialization.get("name")) == ("querystring", "versionId")
            for member in shape.members.values()
        )

    assert {name for name in MODEL.operation_names if names_version(name)} == OF_A_VERSION


def test_actions_are_found_whatever_their_case_and_by_pattern() -> None:
    assert actions_of("s3:getOBJECT", others=False) == {"s3:GetObject"}
    assert actions_of("s3:Put*Policy", others=False) == {"s3:PutBucketPolicy"}
    assert actions_of("*", others=False) == set(ACTIONS)
    assert actions_of("iam:*", others=True) == frozenset()


def test_the_level_of_each_action() -> None:
    levels = {
        "s3:ListAllMyBuckets": Level.SERVICE,
        "s3:ListBucket": Level.BUCKET,
        "s3:CreateBucket": Level.BUCKET,
        "s3:PutObject": Level.OBJECT,
    }
    assert {name: ACTIONS[name] for name in levels} == levels
    assert all(ACTIONS[name] is Level.OBJECT for pair in OF_VERSIONS.items() for name in pair)
    assert ACTIONS["s3:DeleteObject"] is Level.OBJECT, "although DeleteObjects is asked of the bucket"
