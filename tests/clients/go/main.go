// A day's work with the AWS SDK for Go: buckets, objects, ranges, an upload in parts, listings, copies, tags, presigned URLs, errors, deletion.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

const bucket = "go-day"

var background = context.Background()

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func must(ok bool, what string, more ...any) {
	if !ok {
		log.Fatal(append([]any{what}, more...)...)
	}
}

func read(output *s3.GetObjectOutput, err error) []byte {
	check(err)
	defer output.Body.Close()
	data, err := io.ReadAll(output.Body)
	check(err)
	return data
}

func main() {
	settings, err := config.LoadDefaultConfig(background,
		config.WithRegion("us-east-1"),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(os.Getenv("ACCESS_KEY"), os.Getenv("SECRET_KEY"), "")))
	check(err)
	client := s3.NewFromConfig(settings, func(options *s3.Options) {
		options.BaseEndpoint = aws.String(os.Getenv("ENDPOINT"))
		options.UsePathStyle = true
	})
	_, err = client.CreateBucket(background, &s3.CreateBucketInput{Bucket: aws.String(bucket)})
	check(err)
	objects(client)
	parts(client)
	list(client)
	presigned(client)
	refused(client)
	remove(client)
	fmt.Println("done")
}

func objects(client *s3.Client) {
	_, err := client.PutObject(background, &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: aws.String("a b/ü+%"), Body: strings.NewReader("hello"), ContentType: aws.String("text/x"),
		Metadata: map[string]string{"name": "value"}, Tagging: aws.String("a=b"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
	})
	check(err)
	head, err := client.HeadObject(background, &s3.HeadObjectInput{
		Bucket: aws.String(bucket), Key: aws.String("a b/ü+%"), ChecksumMode: types.ChecksumModeEnabled})
	check(err)
	must(*head.ContentType == "text/x" && head.Metadata["name"] == "value" && head.ChecksumSHA256 != nil, "head", head)
	piece := read(client.GetObject(background, &s3.GetObjectInput{
		Bucket: aws.String(bucket), Key: aws.String("a b/ü+%"), Range: aws.String("bytes=1-3")}))
	must(string(piece) == "ell", "range", string(piece))
	_, err = client.CopyObject(background, &s3.CopyObjectInput{
		Bucket: aws.String(bucket), Key: aws.String("copy"), CopySource: aws.String(bucket + "/a%20b/%C3%BC%2B%25")})
	check(err)
	tags, err := client.GetObjectTagging(background, &s3.GetObjectTaggingInput{Bucket: aws.String(bucket), Key: aws.String("copy")})
	check(err)
	must(len(tags.TagSet) == 1 && *tags.TagSet[0].Value == "b", "tags", tags)
}

func parts(client *s3.Client) {
	data := make([]byte, 17<<20+1)
	_, err := rand.Read(data)
	check(err)
	uploader := manager.NewUploader(client, func(u *manager.Uploader) { u.PartSize = 5 << 20 })
	_, err = uploader.Upload(background, &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("large"), Body: bytes.NewReader(data)})
	check(err)
	buffer := manager.NewWriteAtBuffer(nil)
	_, err = manager.NewDownloader(client).Download(background, buffer, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String("large")})
	check(err)
	must(bytes.Equal(buffer.Bytes(), data), "the large object came back otherwise")
}

func list(client *s3.Client) {
	for number := range 25 {
		_, err := client.PutObject(background, &s3.PutObjectInput{
			Bucket: aws.String(bucket), Key: aws.String(fmt.Sprintf("many/%02d", number)), Body: strings.NewReader("x")})
		check(err)
	}
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{
		Bucket: aws.String(bucket), Prefix: aws.String("many/"), MaxKeys: aws.Int32(10)})
	count, turns := 0, 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(background)
		check(err)
		count, turns = count+len(page.Contents), turns+1
	}
	must(count == 25 && turns == 3, "pages", count, turns)
}

func presigned(client *s3.Client) {
	signer := s3.NewPresignClient(client)
	put, err := signer.PresignPutObject(background, &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("url")}, s3.WithPresignExpires(time.Minute))
	check(err)
	request, err := http.NewRequest(put.Method, put.URL, strings.NewReader("by url"))
	check(err)
	answer, err := http.DefaultClient.Do(request)
	check(err)
	must(answer.StatusCode == 200, "presigned put", answer.Status)
	get, err := signer.PresignGetObject(background, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String("url")})
	check(err)
	answer, err = http.Get(get.URL)
	check(err)
	data, err := io.ReadAll(answer.Body)
	check(err)
	must(string(data) == "by url", "presigned get", string(data))
}

func refused(client *s3.Client) {
	_, err := client.GetObject(background, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String("none")})
	var missing *types.NoSuchKey
	must(errors.As(err, &missing), "no NoSuchKey", err)
	_, err = client.PutObject(background, &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: aws.String("url"), Body: strings.NewReader("x"), IfNoneMatch: aws.String("*")})
	var api smithy.APIError
	must(errors.As(err, &api) && api.ErrorCode() == "PreconditionFailed", "no PreconditionFailed", err)
}

func remove(client *s3.Client) {
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: aws.String(bucket)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(background)
		check(err)
		var found []types.ObjectIdentifier
		for _, object := range page.Contents {
			found = append(found, types.ObjectIdentifier{Key: object.Key})
		}
		_, err = client.DeleteObjects(background, &s3.DeleteObjectsInput{Bucket: aws.String(bucket), Delete: &types.Delete{Objects: found}})
		check(err)
	}
	_, err := client.DeleteBucket(background, &s3.DeleteBucketInput{Bucket: aws.String(bucket)})
	check(err)
}
