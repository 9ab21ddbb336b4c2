package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const writers = 16

// folder is what lies below a prefix of a bucket.
type folder struct {
	client *s3.Client
	bucket string
	prefix string
}

func (f folder) newName(purpose string) string {
	return path.Join(f.prefix, fmt.Sprintf("%s-%d", purpose, time.Now().UnixNano()))
}

// put creates an object, or fails with PreconditionFailed where there is one.
func (f folder) put(ctx context.Context, name string, content []byte) error {
	_, err := f.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &f.bucket, Key: &name, Body: bytes.NewReader(content), IfNoneMatch: aws.String("*"),
	})
	return err
}

func (f folder) get(ctx context.Context, name string) ([]byte, error) {
	object, err := f.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &f.bucket, Key: &name})
	if err != nil {
		return nil, err
	}
	defer object.Body.Close()
	return io.ReadAll(object.Body)
}

func (f folder) list(ctx context.Context, prefix string) ([]string, error) {
	page, err := f.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &f.bucket, Prefix: &prefix})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, object := range page.Contents {
		names = append(names, aws.ToString(object.Key))
	}
	return names, nil
}

func (f folder) delete(ctx context.Context, name string) error {
	_, err := f.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &f.bucket, Key: &name})
	return err
}

func (f folder) probe(ctx context.Context) error {
	name := f.newName("probe")
	if err := f.put(ctx, name, []byte("first")); err != nil {
		return fmt.Errorf("conditional put of a new object: %w", err)
	}
	if err := f.put(ctx, name, []byte("second")); code(err) != "PreconditionFailed" {
		return fmt.Errorf("conditional put over an object: expected PreconditionFailed, got %v", err)
	}
	content, err := f.get(ctx, name)
	if err != nil {
		return err
	}
	if string(content) != "first" {
		return fmt.Errorf("read back %q, not what was put first", content)
	}
	for _, expected := range []string{name, ""} {
		listed, err := f.list(ctx, name)
		if err != nil {
			return err
		}
		if strings.Join(listed, " ") != expected {
			return fmt.Errorf("listed %q, expected %q", listed, expected)
		}
		if err := f.delete(ctx, name); err != nil {
			return err
		}
	}
	fmt.Println("put once, refused twice, read back, listed, deleted")
	return nil
}

// race has every writer create the same object at the same moment. One of them may succeed, and its bytes are those that
// stay; the others must be told that they came too late. Races for several objects run side by side, because SeaweedFS
// answers those who lost one by one, a second apart.
func (f folder) race(ctx context.Context, rounds int) error {
	errs := make([]error, rounds)
	places := make(chan struct{}, 50)
	var done sync.WaitGroup
	for round := range rounds {
		places <- struct{}{}
		done.Go(func() {
			defer func() { <-places }()
			// A small body is there with its request; a larger one still comes in while others are decided on.
			size := 10
			if round%2 == 1 {
				size = 64 << 10
			}
			if err := f.raceOnce(ctx, f.newName(fmt.Sprintf("race-%d", round)), size); err != nil {
				errs[round] = fmt.Errorf("race %d of %d: %w", round+1, rounds, err)
			}
		})
	}
	done.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Printf("%d writers raced %d times, one won each time\n", writers, rounds)
	return nil
}

func (f folder) raceOnce(ctx context.Context, name string, size int) error {
	content := func(writer int) []byte { return bytes.Repeat([]byte{byte('a' + writer)}, size) }
	var start, done sync.WaitGroup
	start.Add(1)
	results := make([]error, writers)
	for writer := range writers {
		done.Go(func() {
			start.Wait()
			results[writer] = f.put(ctx, name, content(writer))
		})
	}
	start.Done()
	done.Wait()
	winner := -1
	for writer, err := range results {
		switch {
		case err == nil && winner >= 0:
			return fmt.Errorf("writers %d and %d have both created %s", winner, writer, name)
		case err == nil:
			winner = writer
		case code(err) != "PreconditionFailed" && code(err) != "ConditionalRequestConflict":
			return fmt.Errorf("writer %d: %w", writer, err)
		}
	}
	if winner < 0 {
		return errors.New("nobody created " + name)
	}
	stored, err := f.get(ctx, name)
	if err != nil {
		return err
	}
	if !bytes.Equal(stored, content(winner)) {
		return fmt.Errorf("writer %d created %s, but its bytes are not those stored", winner, name)
	}
	return f.delete(ctx, name)
}

// rights tries one of each. What is not there, or was not created, is no want of rights.
func (f folder) rights(ctx context.Context) error {
	name := f.newName("rights")
	_, read := f.get(ctx, name)
	_, list := f.list(ctx, f.prefix)
	tries := []struct {
		what string
		err  error
	}{{"write", f.put(ctx, name, []byte("right"))}, {"read", read}, {"list", list}, {"delete", f.delete(ctx, name)}}
	var may []string
	for _, try := range tries {
		switch code(try.err) {
		case "AccessDenied":
			continue
		case "NoSuchKey":
		default:
			return fmt.Errorf("%s: %w", try.what, try.err)
		case "":
			if try.err != nil {
				return fmt.Errorf("%s: %w", try.what, try.err)
			}
		}
		may = append(may, try.what)
	}
	fmt.Println(strings.Join(may, " "))
	return nil
}
