// Command load does one kind of work on an S3 server with a number of clients for a number of seconds (or a number of
// times), and prints what it measured as one JSON object.
//
//	load -endpoint http://127.0.0.1:9000 -bucket bench -op put -size 4096 -clients 8 -seconds 5
//
// Keys are prefix/NNNNNNNN. put writes new keys upwards from -first; get, head and range choose among the first -objects;
// delete takes each of them once; list asks for pages of 1,000 from random places; listdelim for a page with a delimiter.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/url"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/encrypt"
)

type config struct {
	endpoint, bucket, op, prefix string
	access, secret, region       string
	size, rangeSize, part        int64
	clients, objects             int
	first, times                 int64
	seconds                      float64
	ssec                         bool
}

type result struct {
	Op       string  `json:"op"`
	Ops      int64   `json:"ops"`
	Errors   int64   `json:"errors"`
	Error    string  `json:"error,omitempty"`
	Bytes    int64   `json:"bytes"`
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	LastName int64   `json:"last"`
}

func parse() config {
	var c config
	flag.StringVar(&c.endpoint, "endpoint", "http://127.0.0.1:9000", "URL of the server")
	flag.StringVar(&c.access, "access-key", "minioadmin", "access key")
	flag.StringVar(&c.secret, "secret-key", "minioadmin", "secret key")
	flag.StringVar(&c.region, "region", "us-east-1", "region")
	flag.StringVar(&c.bucket, "bucket", "bench", "bucket")
	flag.StringVar(&c.prefix, "prefix", "o", "prefix of the keys")
	flag.StringVar(&c.op, "op", "put", "put, get, head, delete, range, multipart, list, listdelim")
	flag.Int64Var(&c.size, "size", 4096, "bytes of an object")
	flag.Int64Var(&c.rangeSize, "range", 65536, "bytes of a range")
	flag.Int64Var(&c.part, "part", 16<<20, "bytes of a part")
	flag.IntVar(&c.clients, "clients", 1, "clients at the same time")
	flag.IntVar(&c.objects, "objects", 1000, "objects that are there")
	flag.Int64Var(&c.first, "first", 0, "number of the first key that put writes")
	flag.Int64Var(&c.times, "times", 0, "how often in all; 0: as often as goes in the time")
	flag.Float64Var(&c.seconds, "seconds", 5, "for how long")
	flag.BoolVar(&c.ssec, "sse-c", false, "bring a key of the client's")
	flag.Parse()
	return c
}

func main() {
	c := parse()
	client, err := connect(c)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx := context.Background()
	if c.op == "bucket" {
		err = client.MakeBucket(ctx, c.bucket, minio.MakeBucketOptions{})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	r := run(ctx, c, client)
	_ = json.NewEncoder(os.Stdout).Encode(r)
	if r.Errors > 0 {
		os.Exit(1)
	}
}

func connect(c config) (*minio.Core, error) {
	target, err := url.Parse(c.endpoint)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: c.clients * 8, MaxIdleConns: c.clients * 8,
		DisableCompression: true, WriteBufferSize: 1 << 17, ReadBufferSize: 1 << 17}
	return minio.NewCore(target.Host, &minio.Options{
		Creds:      credentials.NewStaticV4(c.access, c.secret, ""),
		Secure:     target.Scheme == "https",
		Region:     c.region,
		Transport:  transport,
		MaxRetries: 1,
	})
}

func run(ctx context.Context, c config, client *minio.Core) result {
	body := make([]byte, c.size)
	rand.New(rand.NewSource(1)).Read(body)
	work := worker{c: c, client: client, body: body}
	if c.ssec {
		key, _ := encrypt.NewSSEC(bytes.Repeat([]byte{7}, 32))
		work.sse = key
	}
	var next, errors, bytesMoved atomic.Int64
	var failure atomic.Value
	next.Store(c.first)
	durations := make([][]float64, c.clients)
	start := time.Now()
	deadline := start.Add(time.Duration(c.seconds * float64(time.Second)))
	var wait sync.WaitGroup
	for n := 0; n < c.clients; n++ {
		wait.Add(1)
		go func(n int) {
			defer wait.Done()
			random := rand.New(rand.NewSource(int64(n) + time.Now().UnixNano()))
			for {
				number := next.Add(1) - 1
				if c.times > 0 && number-c.first >= c.times || c.times == 0 && time.Now().After(deadline) {
					return
				}
				began := time.Now()
				moved, err := work.do(ctx, number, random)
				if err != nil {
					errors.Add(1)
					failure.Store(err.Error())
					if errors.Load() > 10 {
						return
					}
					continue
				}
				bytesMoved.Add(moved)
				durations[n] = append(durations[n], time.Since(began).Seconds()*1000)
			}
		}(n)
	}
	wait.Wait()
	r := result{Op: c.op, Errors: errors.Load(), Bytes: bytesMoved.Load(), Seconds: time.Since(start).Seconds(),
		LastName: next.Load()}
	if f := failure.Load(); f != nil {
		r.Error = f.(string)
	}
	var all []float64
	for _, d := range durations {
		all = append(all, d...)
	}
	r.Ops = int64(len(all))
	sort.Float64s(all)
	if len(all) > 0 {
		r.P50, r.P99 = all[len(all)/2], all[len(all)*99/100]
	}
	return r
}

type worker struct {
	c      config
	client *minio.Core
	body   []byte
	sse    encrypt.ServerSide
}

func (w *worker) key(number int64) string { return fmt.Sprintf("%s/%08d", w.c.prefix, number) }

func (w *worker) do(ctx context.Context, number int64, random *rand.Rand) (int64, error) {
	c := w.c
	switch c.op {
	case "put":
		return c.size, w.put(ctx, w.key(number))
	case "get":
		return w.get(ctx, w.key(random.Int63n(int64(c.objects))), 0, 0)
	case "range":
		from := random.Int63n(c.size - c.rangeSize)
		return w.get(ctx, w.key(0), from, c.rangeSize)
	case "head":
		_, err := w.client.StatObject(ctx, c.bucket, w.key(random.Int63n(int64(c.objects))),
			minio.StatObjectOptions{ServerSideEncryption: w.sse})
		return 0, err
	case "delete":
		return 0, w.client.RemoveObject(ctx, c.bucket, w.key(number), minio.RemoveObjectOptions{})
	case "multipart":
		_, err := w.client.Client.PutObject(ctx, c.bucket, w.key(number), bytes.NewReader(w.body), c.size,
			minio.PutObjectOptions{PartSize: uint64(c.part), NumThreads: 4, ServerSideEncryption: w.sse,
				DisableContentSha256: true})
		return c.size, err
	case "list":
		from := w.key(random.Int63n(int64(c.objects)))
		page, err := w.client.ListObjectsV2(c.bucket, c.prefix+"/", from, "", "", 1000)
		return int64(len(page.Contents)), err
	case "listdelim":
		_, err := w.client.ListObjectsV2(c.bucket, "", "", "", "/", 1000)
		return 0, err
	}
	return 0, fmt.Errorf("no such work: %s", c.op)
}

func (w *worker) put(ctx context.Context, key string) error {
	_, err := w.client.Client.PutObject(ctx, w.c.bucket, key, bytes.NewReader(w.body), w.c.size,
		minio.PutObjectOptions{DisableMultipart: true, DisableContentSha256: true, ServerSideEncryption: w.sse})
	return err
}

func (w *worker) get(ctx context.Context, key string, from, length int64) (int64, error) {
	options := minio.GetObjectOptions{ServerSideEncryption: w.sse}
	if length > 0 {
		if err := options.SetRange(from, from+length-1); err != nil {
			return 0, err
		}
	}
	object, _, _, err := w.client.GetObject(ctx, w.c.bucket, key, options)
	if err != nil {
		return 0, err
	}
	defer object.Close()
	return io.Copy(io.Discard, object)
}
