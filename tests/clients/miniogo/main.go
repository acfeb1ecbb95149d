// Drives an S3 server through minio-go: encryption, streaming, multipart, copies, ranges, listings, tags, presigned URLs.
// Prints a line for each check, and exits with 1 at the first that fails.
package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/encrypt"
	"github.com/minio/minio-go/v7/pkg/tags"
)

var (
	ctx    = context.Background()
	client *minio.Client
	bucket string
)

func main() {
	endpoint := flag.String("endpoint", "", "host:port")
	access := flag.String("access", "", "access key")
	secret := flag.String("secret", "", "secret key")
	ca := flag.String("ca", "", "a CA's certificate: use TLS")
	flag.StringVar(&bucket, "bucket", "", "an existing bucket")
	flag.Parse()
	transport, err := minio.DefaultTransport(*ca != "")
	must("transport", err)
	if *ca != "" {
		pem, err := os.ReadFile(*ca)
		must("read the CA", err)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	client, err = minio.New(*endpoint, &minio.Options{
		Creds:     credentials.NewStaticV4(*access, *secret, ""),
		Secure:    *ca != "",
		Transport: transport,

		TrailingHeaders: true,
	})
	must("connect", err)

	putAndGet("sse-s3", encrypt.NewSSE(), 100_000)
	putAndGet("sse-s3 multipart", encrypt.NewSSE(), 20<<20)
	named, err := encrypt.NewSSEKMS("my-minio-key", map[string]string{"department": "ledger"})
	must("a master key by its name", err)
	putAndGet("sse-kms", named, 100_000)
	putAndGet("sse-kms multipart", named, 20<<20)
	if *ca != "" { // minio-go sends clients' keys over TLS only
		key, err := encrypt.NewSSEC([]byte("0123456789abcdef0123456789abcdef"))
		must("make a key", err)
		putAndGet("sse-c", key, 100_000)
		putAndGet("sse-c multipart", key, 20<<20)
		wrongKey(key)
		copyBetween(key)
	}
	unknownSize()
	checksums()
	ranges()
	listing()
	tagging()
	presigned(transport)
	removal()
}

// What the tests look for on the server's disk after an upload; the same as in content.py.
const marker = "<<this is known plaintext, and must not be found on the disk>>"

func content(size int) []byte {
	data := make([]byte, size)
	rand.New(rand.NewSource(int64(size))).Read(data)
	for start := 0; start < size; start += 4096 {
		copy(data[start:], marker)
	}
	return data
}

func putAndGet(name string, sse encrypt.ServerSide, size int) {
	data := content(size)
	put := minio.PutObjectOptions{ServerSideEncryption: sse, PartSize: 5 << 20, UserMetadata: map[string]string{"who": "me"}}
	_, err := client.PutObject(ctx, bucket, name, bytes.NewReader(data), int64(size), put)
	must("put "+name, err)
	get := minio.GetObjectOptions{}
	if sse.Type() == encrypt.SSEC {
		get.ServerSideEncryption = sse
	}
	info, err := client.StatObject(ctx, bucket, name, get)
	must("stat "+name, err)
	check("size of "+name, info.Size == int64(size) && info.UserMetadata["Who"] == "me")
	header, shown := "X-Amz-Server-Side-Encryption", "AES256"
	switch sse.Type() {
	case encrypt.SSEC:
		header += "-Customer-Algorithm"
	case encrypt.KMS:
		shown = "aws:kms"
	}
	check("encryption of "+name, info.Metadata.Get(header) == shown)
	check("contents of "+name, bytes.Equal(read(name, get), data))
}

func read(name string, options minio.GetObjectOptions) []byte {
	object, err := client.GetObject(ctx, bucket, name, options)
	must("open "+name, err)
	defer object.Close()
	data, err := io.ReadAll(object)
	must("read "+name, err)
	return data
}

func wrongKey(right encrypt.ServerSide) {
	wrong, err := encrypt.NewSSEC([]byte("another key another key another!"))
	must("make another key", err)
	_, err = client.StatObject(ctx, bucket, "sse-c", minio.GetObjectOptions{ServerSideEncryption: wrong})
	check("a wrong key is refused", err != nil)
	_, err = client.StatObject(ctx, bucket, "sse-c", minio.GetObjectOptions{})
	check("no key is refused", err != nil)
}

func copyBetween(key encrypt.ServerSide) {
	source := minio.CopySrcOptions{Bucket: bucket, Object: "sse-c", Encryption: encrypt.SSECopy(key)}
	target := minio.CopyDestOptions{Bucket: bucket, Object: "copied to sse-s3", Encryption: encrypt.NewSSE()}
	_, err := client.CopyObject(ctx, target, source)
	must("copy from SSE-C to SSE-S3", err)
	check("contents of the copy", bytes.Equal(read("copied to sse-s3", minio.GetObjectOptions{}), content(100_000)))
}

func unknownSize() {
	data := content(12 << 20)
	reader := io.MultiReader(bytes.NewReader(data[:1000]), bytes.NewReader(data[1000:]))
	_, err := client.PutObject(ctx, bucket, "streamed", reader, -1, minio.PutObjectOptions{PartSize: 5 << 20})
	must("put a stream of unknown size", err)
	check("contents of the stream", bytes.Equal(read("streamed", minio.GetObjectOptions{}), data))
}

func checksums() {
	data := content(12 << 20)
	for _, kind := range []minio.ChecksumType{
		minio.ChecksumCRC32C, minio.ChecksumCRC32, minio.ChecksumCRC64NVME, minio.ChecksumMD5, minio.ChecksumSHA1,
		minio.ChecksumSHA256, minio.ChecksumSHA512, minio.ChecksumXXHash64, minio.ChecksumXXHash3, minio.ChecksumXXHash128,
	} {
		name := "checksum " + kind.String()
		for _, size := range []int{100_000, 12 << 20} {
			put := minio.PutObjectOptions{PartSize: 5 << 20, Checksum: kind}
			_, err := client.PutObject(ctx, bucket, name, bytes.NewReader(data[:size]), int64(size), put)
			must("put "+name, err)
			check("contents of "+name, bytes.Equal(read(name, minio.GetObjectOptions{Checksum: true}), data[:size]))
			info, err := client.StatObject(ctx, bucket, name, minio.GetObjectOptions{Checksum: true})
			must("stat "+name, err)
			check(name+" is shown", info.Checksum(kind) != "")
		}
	}
}

func ranges() {
	data := content(12 << 20)
	for _, span := range [][2]int64{{0, 0}, {65535, 65536}, {5<<20 - 1, 5 << 20}, {12<<20 - 10, 12<<20 - 1}} {
		options := minio.GetObjectOptions{}
		must("range", options.SetRange(span[0], span[1]))
		check(fmt.Sprint("range ", span), bytes.Equal(read("streamed", options), data[span[0]:span[1]+1]))
	}
}

func listing() {
	for i := 0; i < 12; i++ {
		name := fmt.Sprintf("list/%d/object %d ü+&", i%3, i)
		_, err := client.PutObject(ctx, bucket, name, strings.NewReader(name), int64(len(name)), minio.PutObjectOptions{})
		must("put "+name, err)
	}
	found := 0
	for object := range client.ListObjects(ctx, bucket, minio.ListObjectsOptions{Prefix: "list/", Recursive: true, MaxKeys: 5}) {
		must("list", object.Err)
		sum := md5.Sum([]byte(object.Key))
		check("ETag of "+object.Key, object.ETag == hex.EncodeToString(sum[:]))
		found++
	}
	check("12 objects listed", found == 12)
	prefixes := 0
	for object := range client.ListObjects(ctx, bucket, minio.ListObjectsOptions{Prefix: "list/"}) {
		must("list prefixes", object.Err)
		prefixes++
	}
	check("3 prefixes listed", prefixes == 3)
}

func tagging() {
	wanted, err := tags.NewTags(map[string]string{"colour": "green", "size": "ten"}, true)
	must("make tags", err)
	must("set tags", client.PutObjectTagging(ctx, bucket, "streamed", wanted, minio.PutObjectTaggingOptions{}))
	got, err := client.GetObjectTagging(ctx, bucket, "streamed", minio.GetObjectTaggingOptions{})
	must("get tags", err)
	check("tags", got.ToMap()["colour"] == "green" && len(got.ToMap()) == 2)
}

func presigned(transport *http.Transport) {
	web := http.Client{Transport: transport}
	address, err := client.PresignedPutObject(ctx, bucket, "presigned", time.Minute)
	must("presign a PUT", err)
	request, err := http.NewRequest(http.MethodPut, address.String(), strings.NewReader("by URL"))
	must("make a request", err)
	response, err := web.Do(request)
	must("PUT by URL", err)
	check("PUT by URL is answered 200", response.StatusCode == 200)
	address, err = client.PresignedGetObject(ctx, bucket, "presigned", time.Minute, url.Values{})
	must("presign a GET", err)
	response, err = web.Get(address.String())
	must("GET by URL", err)
	body, err := io.ReadAll(response.Body)
	must("read by URL", err)
	check("contents by URL", string(body) == "by URL")
}

func removal() {
	options := minio.ListObjectsOptions{Prefix: "list/", Recursive: true}
	for failure := range client.RemoveObjects(ctx, bucket, client.ListObjects(ctx, bucket, options), minio.RemoveObjectsOptions{}) {
		must("remove "+failure.ObjectName, failure.Err)
	}
	left := 0
	for object := range client.ListObjects(ctx, bucket, options) {
		must("list what is left", object.Err)
		left++
	}
	check("12 objects removed", left == 0)
	other := bucket + "-2"
	must("make a bucket", client.MakeBucket(ctx, other, minio.MakeBucketOptions{}))
	must("remove a bucket", client.RemoveBucket(ctx, other))
	there, err := client.BucketExists(ctx, other)
	must("ask for a bucket", err)
	check("the bucket is removed", !there)
}

func must(what string, err error) {
	if err != nil {
		fmt.Println("FAILED", what+":", err)
		os.Exit(1)
	}
}

func check(what string, right bool) {
	if !right {
		fmt.Println("FAILED", what)
		os.Exit(1)
	}
	fmt.Println("ok", what)
}
