package frazil;

import java.io.ByteArrayInputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.S3Configuration;
import software.amazon.awssdk.services.s3.model.ChecksumAlgorithm;
import software.amazon.awssdk.services.s3.model.CompletedPart;
import software.amazon.awssdk.services.s3.model.NoSuchKeyException;
import software.amazon.awssdk.services.s3.model.ObjectIdentifier;
import software.amazon.awssdk.services.s3.model.S3Exception;
import software.amazon.awssdk.services.s3.presigner.S3Presigner;

/** A day's work with the AWS SDK for Java: buckets, objects, an upload in parts, listings, copies, presigned URLs, errors, deletion. */
public final class Day {
    private static final String BUCKET = "java-day";
    private static final int PART = 5 << 20;

    public static void main(String[] arguments) throws Exception {
        var credentials = StaticCredentialsProvider.create(AwsBasicCredentials.create(System.getenv("ACCESS_KEY"), System.getenv("SECRET_KEY")));
        var endpoint = URI.create(System.getenv("ENDPOINT"));
        try (var s3 = S3Client.builder().endpointOverride(endpoint).region(Region.US_EAST_1).credentialsProvider(credentials)
                .forcePathStyle(true).httpClient(UrlConnectionHttpClient.create()).build();
             var presigner = S3Presigner.builder().endpointOverride(endpoint).region(Region.US_EAST_1).credentialsProvider(credentials)
                .serviceConfiguration(S3Configuration.builder().pathStyleAccessEnabled(true).build()).build()) {
            s3.createBucket(request -> request.bucket(BUCKET));
            objects(s3);
            parts(s3);
            pages(s3);
            presigned(presigner);
            refused(s3);
            remove(s3);
        }
        System.out.println("done");
    }

    private static void must(boolean fact, String what) {
        if (!fact) {
            throw new AssertionError(what);
        }
    }

    private static byte[] read(S3Client s3, String key) {
        return s3.getObjectAsBytes(request -> request.bucket(BUCKET).key(key)).asByteArray();
    }

    private static void objects(S3Client s3) {
        s3.putObject(request -> request.bucket(BUCKET).key("a b/ü+%").contentType("text/x").metadata(Map.of("name", "value")).tagging("a=b")
            .checksumAlgorithm(ChecksumAlgorithm.SHA256), RequestBody.fromString("hello"));
        var head = s3.headObject(request -> request.bucket(BUCKET).key("a b/ü+%"));
        must(head.contentType().equals("text/x") && head.metadata().get("name").equals("value"), "head");
        var piece = s3.getObjectAsBytes(request -> request.bucket(BUCKET).key("a b/ü+%").range("bytes=1-3"));
        must(piece.asUtf8String().equals("ell"), "range");
        s3.copyObject(request -> request.sourceBucket(BUCKET).sourceKey("a b/ü+%").destinationBucket(BUCKET).destinationKey("copy"));
        must(s3.getObjectTagging(request -> request.bucket(BUCKET).key("copy")).tagSet().get(0).value().equals("b"), "tags");
        var stream = new ByteArrayInputStream(new byte[100_000]);
        s3.putObject(request -> request.bucket(BUCKET).key("stream"), RequestBody.fromInputStream(stream, 100_000));
        must(read(s3, "stream").length == 100_000, "stream");
    }

    private static void parts(S3Client s3) {
        var data = new byte[12 << 20];
        new Random(1).nextBytes(data);
        var upload = s3.createMultipartUpload(request -> request.bucket(BUCKET).key("large")).uploadId();
        List<CompletedPart> done = new ArrayList<>();
        for (int number = 1; (number - 1) * PART < data.length; number++) {
            int part = number;
            var piece = Arrays.copyOfRange(data, (number - 1) * PART, Math.min(number * PART, data.length));
            var answer = s3.uploadPart(request -> request.bucket(BUCKET).key("large").uploadId(upload).partNumber(part), RequestBody.fromBytes(piece));
            done.add(CompletedPart.builder().partNumber(number).eTag(answer.eTag()).checksumCRC32(answer.checksumCRC32()).build());
        }
        s3.completeMultipartUpload(request -> request.bucket(BUCKET).key("large").uploadId(upload).multipartUpload(all -> all.parts(done)));
        must(Arrays.equals(read(s3, "large"), data), "the large object came back otherwise");
    }

    private static void pages(S3Client s3) {
        for (int number = 0; number < 25; number++) {
            var key = "many/" + number;
            s3.putObject(request -> request.bucket(BUCKET).key(key), RequestBody.fromString("x"));
        }
        var pages = s3.listObjectsV2Paginator(request -> request.bucket(BUCKET).prefix("many/").maxKeys(10));
        must(pages.contents().stream().count() == 25, "pages");
    }

    private static void presigned(S3Presigner presigner) throws Exception {
        var put = presigner.presignPutObject(all -> all.signatureDuration(Duration.ofMinutes(1)).putObjectRequest(request -> request.bucket(BUCKET).key("url")));
        var sending = (HttpURLConnection) put.url().openConnection();
        sending.setDoOutput(true);
        sending.setRequestMethod("PUT");
        put.httpRequest().firstMatchingHeader("content-type").ifPresent(value -> sending.setRequestProperty("content-type", value));
        sending.getOutputStream().write("by url".getBytes(StandardCharsets.UTF_8));
        must(sending.getResponseCode() == 200, "presigned put: " + sending.getResponseCode());
        var get = presigner.presignGetObject(all -> all.signatureDuration(Duration.ofMinutes(1)).getObjectRequest(request -> request.bucket(BUCKET).key("url")));
        must(new String(get.url().openStream().readAllBytes(), StandardCharsets.UTF_8).equals("by url"), "presigned get");
    }

    private static void refused(S3Client s3) {
        try {
            read(s3, "none");
            throw new AssertionError("no NoSuchKey");
        } catch (NoSuchKeyException expected) {
            must(expected.statusCode() == 404, "status");
        }
        try {
            s3.putObject(request -> request.bucket(BUCKET).key("url").ifNoneMatch("*"), RequestBody.fromString("x"));
            throw new AssertionError("no PreconditionFailed");
        } catch (S3Exception expected) {
            must(expected.awsErrorDetails().errorCode().equals("PreconditionFailed"), "code");
        }
    }

    private static void remove(S3Client s3) {
        var found = s3.listObjectsV2(request -> request.bucket(BUCKET)).contents().stream()
            .map(object -> ObjectIdentifier.builder().key(object.key()).build()).toList();
        s3.deleteObjects(request -> request.bucket(BUCKET).delete(all -> all.objects(found)));
        s3.deleteBucket(request -> request.bucket(BUCKET));
    }
}
