// A day's work with the AWS SDK for JavaScript: buckets, objects, streams, an upload in parts, listings, copies, presigned URLs and forms, errors.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import * as s3 from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { createPresignedPost } from "@aws-sdk/s3-presigned-post";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const Bucket = "js-day";
const client = new s3.S3Client({
  endpoint: process.env.ENDPOINT,
  region: "us-east-1",
  forcePathStyle: true,
  credentials: { accessKeyId: process.env.ACCESS_KEY, secretAccessKey: process.env.SECRET_KEY },
});
const read = async (Key) => Buffer.from(await (await client.send(new s3.GetObjectCommand({ Bucket, Key }))).Body.transformToByteArray());

await client.send(new s3.CreateBucketCommand({ Bucket }));

const Key = "a b/ü+%";
await client.send(new s3.PutObjectCommand({ Bucket, Key, Body: "hello", ContentType: "text/x", Metadata: { name: "value" }, Tagging: "a=b" }));
const head = await client.send(new s3.HeadObjectCommand({ Bucket, Key, ChecksumMode: "ENABLED" }));
assert.equal(head.ContentType, "text/x");
assert.equal(head.Metadata.name, "value");
assert.equal((await client.send(new s3.GetObjectCommand({ Bucket, Key, Range: "bytes=1-3" }))).ContentLength, 3);
await client.send(new s3.CopyObjectCommand({ Bucket, Key: "copy", CopySource: `${Bucket}/${encodeURIComponent(Key)}` }));
assert.deepEqual((await client.send(new s3.GetObjectTaggingCommand({ Bucket, Key: "copy" }))).TagSet, [{ Key: "a", Value: "b" }]);

const data = randomBytes((17 << 20) + 1);
await new Upload({ client, params: { Bucket, Key: "large", Body: Readable.from([data.subarray(0, 9 << 20), data.subarray(9 << 20)]) } }).done();
assert.ok(data.equals(await read("large")));
await client.send(new s3.PutObjectCommand({ Bucket, Key: "stream", Body: Readable.from([data.subarray(0, 100_000)]), ContentLength: 100_000 }));
assert.ok(data.subarray(0, 100_000).equals(await read("stream")));

for (let number = 0; number < 25; number++) {
  await client.send(new s3.PutObjectCommand({ Bucket, Key: `many/${number}`, Body: "x" }));
}
let count = 0;
for await (const page of s3.paginateListObjectsV2({ client, pageSize: 10 }, { Bucket, Prefix: "many/" })) count += page.Contents.length;
assert.equal(count, 25);

const put = await getSignedUrl(client, new s3.PutObjectCommand({ Bucket, Key: "url" }), { expiresIn: 60 });
const answer = await fetch(put, { method: "PUT", body: "by url" });
assert.equal(answer.status, 200, await answer.text());
assert.equal(await (await fetch(await getSignedUrl(client, new s3.GetObjectCommand({ Bucket, Key: "url" })))).text(), "by url");

const { url, fields } = await createPresignedPost(client, {
  Bucket,
  Key: "up/${filename}",
  Conditions: [["content-length-range", 1, 100], { "x-amz-meta-from": "a form" }],
  Fields: { "x-amz-meta-from": "a form" },
});
const form = new FormData();
for (const [name, value] of Object.entries(fields)) form.append(name, value);
form.append("file", new Blob(["by form"]), "näme.txt");
const posted = await fetch(url, { method: "POST", body: form });
assert.equal(posted.status, 204, await posted.text());
assert.equal((await read("up/näme.txt")).toString(), "by form");

await assert.rejects(client.send(new s3.GetObjectCommand({ Bucket, Key: "none" })), s3.NoSuchKey);
await assert.rejects(client.send(new s3.PutObjectCommand({ Bucket, Key: "url", Body: "x", IfNoneMatch: "*" })), { name: "PreconditionFailed" });

const { Contents } = await client.send(new s3.ListObjectsV2Command({ Bucket }));
await client.send(new s3.DeleteObjectsCommand({ Bucket, Delete: { Objects: Contents.map(({ Key }) => ({ Key })) } }));
await client.send(new s3.DeleteBucketCommand({ Bucket }));
console.log("done");
