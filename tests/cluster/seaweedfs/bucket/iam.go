package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// iam speaks the store's IAM API. The SDK's client doesn't know that a key may be brought along, as it may to SeaweedFS.
type iam struct {
	endpoint string
	region   string
	keys     aws.CredentialsProvider
}

func (i *iam) call(ctx context.Context, action string, values url.Values) error {
	values.Set("Action", action)
	values.Set("Version", "2010-05-08")
	body := values.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(i.endpoint, "/")+"/", strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	keys, err := i.keys.Retrieve(ctx)
	if err != nil {
		return err
	}
	hash := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(ctx, keys, request, hex.EncodeToString(hash[:]), "iam", i.region, time.Now()); err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return err
	}
	var refused struct {
		Code    string `xml:"Error>Code"`
		Message string `xml:"Error>Message"`
	}
	if err := xml.Unmarshal(answer, &refused); err != nil || refused.Code == "" {
		return fmt.Errorf("%s: %s: %s", action, response.Status, answer)
	}
	return fmt.Errorf("%s: %s: %s", action, refused.Code, refused.Message)
}

const policy = `{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts"], "Resource": ["arn:aws:s3:::%[1]s/%[2]s/*"]},
  {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::%[1]s"],
    "Condition": {"StringLike": {"s3:prefix": ["%[2]s", "%[2]s/*"]}}}]}`

// addKey makes a user for each key. The key comes last: there is none without its policy.
func (i *iam) addKey(ctx context.Context, bucket, prefix, id, secret string) error {
	if err := i.call(ctx, "CreateUser", url.Values{"UserName": {id}}); err != nil {
		return err
	}
	document := fmt.Sprintf(policy, bucket, prefix)
	if err := i.call(ctx, "PutUserPolicy", url.Values{"UserName": {id}, "PolicyName": {"folder"}, "PolicyDocument": {document}}); err != nil {
		return errors.Join(err, i.call(ctx, "DeleteUser", url.Values{"UserName": {id}}))
	}
	if err := i.call(ctx, "CreateAccessKey", url.Values{"UserName": {id}, "AccessKeyId": {id}, "SecretAccessKey": {secret}}); err != nil {
		return errors.Join(err, i.revoke(ctx, id))
	}
	return nil
}

// revoke takes the key first: from then on it is unknown, and not one that may do nothing.
func (i *iam) revoke(ctx context.Context, id string) error {
	if err := i.call(ctx, "DeleteAccessKey", url.Values{"UserName": {id}, "AccessKeyId": {id}}); err != nil {
		return err
	}
	if err := i.call(ctx, "DeleteUserPolicy", url.Values{"UserName": {id}, "PolicyName": {"folder"}}); err != nil {
		return err
	}
	return i.call(ctx, "DeleteUser", url.Values{"UserName": {id}})
}
