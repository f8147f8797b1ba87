"""A day's work with whatever boto3 runs this: buckets, objects, an upload in parts, listings, copies, presigned URLs, deletion."""

import io
import os
import random
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

BUCKET = "boto-day"


def main() -> None:
    s3 = boto3.client(
        "s3",
        endpoint_url=os.environ["ENDPOINT"],
        region_name="us-east-1",
        aws_access_key_id=os.environ["ACCESS_KEY"],
        aws_secret_access_key=os.environ["SECRET_KEY"],
        config=Config(signature_version=os.environ.get("SIGNATURE", "s3v4"), s3={"addressing_style": "path"}),
    )
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="a b/ü+%", Body=b"hello", ContentType="text/x", Metadata={"name": "value"}, Tagging="a=b")
    head = s3.head_object(Bucket=BUCKET, Key="a b/ü+%")
    assert (head["ContentType"], head["Metadata"]) == ("text/x", {"name": "value"})
    assert s3.get_object(Bucket=BUCKET, Key="a b/ü+%", Range="bytes=1-3")["Body"].read() == b"ell"
    s3.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "a b/ü+%"})
    assert s3.get_object_tagging(Bucket=BUCKET, Key="copy")["TagSet"] == [{"Key": "a", "Value": "b"}]
    data = random.Random(1).randbytes((17 << 20) + 1)
    s3.upload_fileobj(io.BytesIO(data), BUCKET, "large")
    back = io.BytesIO()
    s3.download_fileobj(BUCKET, "large", back)
    assert back.getvalue() == data
    for number in range(25):
        s3.put_object(Bucket=BUCKET, Key=f"many/{number}", Body=b"x")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="many/", PaginationConfig={"PageSize": 10})
    assert sum(len(page["Contents"]) for page in pages) == 25
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "copy"})
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"hello"
    try:
        s3.get_object(Bucket=BUCKET, Key="none")
    except ClientError as error:
        assert error.response["Error"]["Code"] == "NoSuchKey", error
    else:
        raise AssertionError("no NoSuchKey")
    keys = [{"Key": row["Key"]} for row in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": keys})
    s3.delete_bucket(Bucket=BUCKET)
    print("done", boto3.__version__)


main()
