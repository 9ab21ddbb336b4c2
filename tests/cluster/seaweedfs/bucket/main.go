// Command bucket prepares and probes the tests' object store. Endpoint, keys and region come from AWS_ENDPOINT_URL,
// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION; a CA for TLS from SSL_CERT_FILE.
//
//	bucket create NAME                 make the bucket if it isn't there
//	bucket key NAME PREFIX ID SECRET   a key of its own that reaches only what is below PREFIX of the bucket;
//	                                   ID: 4 to 128 letters and digits, SECRET: 8 to 128 characters
//	bucket revoke ID                   take such a key away
//	bucket put NAME KEY CONTENT        create an object; there must be none yet
//	bucket get NAME KEY                print it
//	bucket probe NAME PREFIX           put below PREFIX, refuse a second conditional put, read back, delete
//	bucket race NAME PREFIX ROUNDS     let 16 writers create an object at the same moment, ROUNDS times
//	bucket rights NAME PREFIX          print what the key may do below PREFIX, of: write read list delete
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bucket:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	endpoint, region := os.Getenv("AWS_ENDPOINT_URL"), os.Getenv("AWS_REGION")
	if endpoint == "" {
		return errors.New("AWS_ENDPOINT_URL names no server")
	}
	if region == "" {
		region = "us-east-1"
	}
	keys := credentials.NewStaticCredentialsProvider(os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), "")
	client := s3.New(s3.Options{
		BaseEndpoint: &endpoint,
		Region:       region,
		Credentials:  keys,
		UsePathStyle: true,
		// Each request once: a put whose answer was lost and that is repeated looks like one that lost a race.
		Retryer: aws.NopRetryer{},
		// The body's SHA-256 is signed already. Without this the SDK sends a checksum after the body, in another encoding.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	})
	admin := &iam{endpoint: endpoint, region: region, keys: keys}
	switch {
	case len(args) == 2 && args[0] == "create":
		return create(ctx, client, args[1])
	case len(args) == 5 && args[0] == "key":
		return admin.addKey(ctx, args[1], args[2], args[3], args[4])
	case len(args) == 2 && args[0] == "revoke":
		return admin.revoke(ctx, args[1])
	case len(args) == 4 && args[0] == "put":
		return folder{client, args[1], ""}.put(ctx, args[2], []byte(args[3]))
	case len(args) == 3 && args[0] == "get":
		content, err := folder{client, args[1], ""}.get(ctx, args[2])
		if err == nil {
			_, err = os.Stdout.Write(content)
		}
		return err
	case len(args) == 3 && args[0] == "probe":
		return folder{client, args[1], args[2]}.probe(ctx)
	case len(args) == 3 && args[0] == "rights":
		return folder{client, args[1], args[2]}.rights(ctx)
	case len(args) == 4 && args[0] == "race":
		rounds, err := strconv.Atoi(args[3])
		if err != nil {
			return err
		}
		return folder{client, args[1], args[2]}.race(ctx, rounds)
	}
	return errors.New("expected create NAME, key NAME PREFIX ID SECRET, revoke ID, put NAME KEY CONTENT, get NAME KEY, " +
		"probe NAME PREFIX, race NAME PREFIX ROUNDS or rights NAME PREFIX")
}

// create is also how the store's start is awaited: it must not wait long itself.
func create(ctx context.Context, client *s3.Client, bucket string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	_, err := client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket})
	if code(err) != "NotFound" {
		return err
	}
	_, err = client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket})
	return err
}

// code is what the store called an error; empty where there is none, or where it is not the store's.
func code(err error) string {
	var answered smithy.APIError
	if errors.As(err, &answered) {
		return answered.ErrorCode()
	}
	return ""
}
