// Command bucket prepares and probes the tests' object store. Endpoint and keys come from AWS_ENDPOINT_URL,
// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; a CA for TLS from SSL_CERT_FILE.
//
//	bucket create NAME                 make the bucket if it isn't there
//	bucket key NAME PREFIX ID SECRET   a key of its own that reaches only what is below PREFIX of the bucket
//	bucket revoke ID                   take such a key away
//	bucket probe NAME PREFIX           put below PREFIX, refuse a second conditional put, read back, delete
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"github.com/minio/madmin-go/v3"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bucket:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	server, err := url.Parse(os.Getenv("AWS_ENDPOINT_URL"))
	if err != nil || server.Host == "" {
		return fmt.Errorf("AWS_ENDPOINT_URL=%q names no server", os.Getenv("AWS_ENDPOINT_URL"))
	}
	keys := credentials.NewStaticV4(os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), "")
	secure := server.Scheme == "https"
	client, err := minio.New(server.Host, &minio.Options{Creds: keys, Secure: secure})
	if err != nil {
		return err
	}
	admin, err := madmin.NewWithOptions(server.Host, &madmin.Options{Creds: keys, Secure: secure})
	if err != nil {
		return err
	}
	switch {
	case len(args) == 2 && args[0] == "create":
		return create(ctx, client, args[1])
	case len(args) == 5 && args[0] == "key":
		return addKey(ctx, admin, args[1], args[2], args[3], args[4])
	case len(args) == 2 && args[0] == "revoke":
		return admin.DeleteServiceAccount(ctx, args[1])
	case len(args) == 3 && args[0] == "probe":
		return probe(ctx, client, args[1], args[2])
	}
	return errors.New("expected create NAME, key NAME PREFIX ID SECRET, revoke ID or probe NAME PREFIX")
}

func create(ctx context.Context, client *minio.Client, bucket string) error {
	if there, err := client.BucketExists(ctx, bucket); err != nil || there {
		return err
	}
	return client.MakeBucket(ctx, bucket, minio.MakeBucketOptions{})
}

const policy = `{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts"], "Resource": ["arn:aws:s3:::%[1]s/%[2]s/*"]},
  {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::%[1]s"],
    "Condition": {"StringLike": {"s3:prefix": ["%[2]s", "%[2]s/*"]}}}]}`

func addKey(ctx context.Context, admin *madmin.AdminClient, bucket, prefix, id, secret string) error {
	_, err := admin.AddServiceAccount(ctx, madmin.AddServiceAccountReq{
		AccessKey: id, SecretKey: secret, Policy: fmt.Appendf(nil, policy, bucket, prefix),
	})
	return err
}

func probe(ctx context.Context, client *minio.Client, bucket, prefix string) error {
	name := fmt.Sprintf("%s/probe-%d", prefix, time.Now().UnixNano())
	put := func(content string) error {
		onlyNew := minio.PutObjectOptions{}
		onlyNew.SetMatchETagExcept("*")
		_, err := client.PutObject(ctx, bucket, name, bytes.NewReader([]byte(content)), int64(len(content)), onlyNew)
		return err
	}
	if err := put("first"); err != nil {
		return fmt.Errorf("conditional put of a new object: %w", err)
	}
	defer client.RemoveObject(ctx, bucket, name, minio.RemoveObjectOptions{})
	if err := put("second"); minio.ToErrorResponse(err).Code != "PreconditionFailed" {
		return fmt.Errorf("conditional put over an object: expected PreconditionFailed, got %v", err)
	}
	object, err := client.GetObject(ctx, bucket, name, minio.GetObjectOptions{})
	if err != nil {
		return err
	}
	defer object.Close()
	content, err := io.ReadAll(object)
	if err != nil {
		return err
	}
	if string(content) != "first" {
		return fmt.Errorf("read back %q, not what was put first", content)
	}
	fmt.Println("put once, refused twice, read back")
	return nil
}
