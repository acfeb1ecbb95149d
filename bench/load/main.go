// Command load does one kind of work on an S3 server with a number of clients for a number of seconds (or a number of
// times), and prints what it measured as one JSON object.
//
//	load -endpoint http://127.0.0.1:9000 -bucket bench -op put -size 4096 -clients 8 -seconds 5
//
// Keys are prefix/NNNNNNNN, with -folder N prefix/NNNNN/NNNNNNNN, N objects in each folder. put writes new keys upwards from
// -first; get, head and range choose among the first -objects; delete takes each of them once; list asks for pages of 1,000 from
// random places, page for the first, spread for -times of them from the first to the last; listdelim for the folders. mixed
// reads like get and head, and between them puts and deletes other keys.
//
// It shares the cores with the servers, so it is made to take little of them, and to do what clients do all the same: each
// client has a goroutine and a kept-alive connection, each request is signed. It checks each answer: status, length, ETag, the
// bytes of bodies (see comparedUpTo), the number of a page's entries.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"net/url"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type config struct {
	endpoint, bucket, op, prefix string
	access, secret, region       string
	size, rangeSize, part        int64
	objects, folder              int64
	clients                      int
	first, times                 int64
	seconds                      float64
	ssec, anew                   bool
}

// A result; processor is the seconds of processor time that this program took, of all cores.
type result struct {
	Op        string  `json:"op"`
	Ops       int64   `json:"ops"`
	Errors    int64   `json:"errors"`
	Error     string  `json:"error,omitempty"`
	Bytes     int64   `json:"bytes"`
	Seconds   float64 `json:"seconds"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	LastName  int64   `json:"last"`
	Processor float64 `json:"processor_seconds"`
}

// patience is how long no request at all may end before the server is given up.
const patience = 2 * time.Minute

func parse() config {
	var c config
	flag.StringVar(&c.endpoint, "endpoint", "http://127.0.0.1:9000", "URL of the server")
	flag.StringVar(&c.access, "access-key", "minioadmin", "access key")
	flag.StringVar(&c.secret, "secret-key", "minioadmin", "secret key")
	flag.StringVar(&c.region, "region", "us-east-1", "region")
	flag.StringVar(&c.bucket, "bucket", "bench", "bucket")
	flag.StringVar(&c.prefix, "prefix", "o", "prefix of the keys")
	flag.StringVar(&c.op, "op", "put", "bucket, put, get, head, delete, mixed, range, multipart, list, page, spread, listdelim")
	flag.Int64Var(&c.size, "size", 4096, "bytes of an object")
	flag.Int64Var(&c.rangeSize, "range", 65536, "bytes of a range")
	flag.Int64Var(&c.part, "part", 16<<20, "bytes of a part")
	flag.IntVar(&c.clients, "clients", 1, "clients at the same time")
	flag.Int64Var(&c.objects, "objects", 1000, "objects that are there")
	flag.Int64Var(&c.folder, "folder", 0, "objects in a folder; 0: no folders")
	flag.Int64Var(&c.first, "first", 0, "number of the first key that put writes and delete removes")
	flag.Int64Var(&c.times, "times", 0, "how often in all; 0: as often as goes in the time")
	flag.Float64Var(&c.seconds, "seconds", 5, "for how long")
	flag.BoolVar(&c.ssec, "sse-c", false, "bring a key of the client's")
	flag.BoolVar(&c.anew, "anew", false, "open a connection for each request")
	flag.Parse()
	return c
}

func (c *config) key(number int64) string {
	if c.folder > 0 {
		return fmt.Sprintf("%s/%05d/%08d", c.prefix, number/c.folder, number)
	}
	return fmt.Sprintf("%s/%08d", c.prefix, number)
}

func main() {
	c := parse()
	target, err := url.Parse(c.endpoint)
	if err == nil && c.op == "bucket" {
		err = newClient(c, target, bodies{}).makeBucket()
	} else if err == nil {
		var r result
		if r, err = run(c, target); err == nil {
			_ = json.NewEncoder(os.Stdout).Encode(r)
			if r.Errors > 0 {
				os.Exit(1)
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(c config, target *url.URL) (result, error) {
	work, known := map[string]func(*client, int64, *rand.Rand) (int64, error){
		"put": func(w *client, n int64, _ *rand.Rand) (int64, error) { return c.size, w.put(n) },
		"get": func(w *client, _ int64, r *rand.Rand) (int64, error) {
			return c.size, w.get(r.Int63n(c.objects), 0, c.size)
		},
		"head":      func(w *client, _ int64, r *rand.Rand) (int64, error) { return 0, w.stat(r.Int63n(c.objects)) },
		"delete":    func(w *client, n int64, _ *rand.Rand) (int64, error) { return 0, w.remove(n) },
		"mixed":     (*client).mixed,
		"multipart": func(w *client, n int64, _ *rand.Rand) (int64, error) { return c.size, w.upload(n) },
		"list":      func(w *client, _ int64, r *rand.Rand) (int64, error) { return w.list(r.Int63n(c.objects), false) },
		"page":      func(w *client, _ int64, _ *rand.Rand) (int64, error) { return w.list(-1, false) },
		"spread": func(w *client, n int64, _ *rand.Rand) (int64, error) {
			return w.list(n*(c.objects/c.times)-1, false)
		},
		"listdelim": func(w *client, _ int64, _ *rand.Rand) (int64, error) { return w.list(0, true) },
		"range": func(w *client, _ int64, r *rand.Rand) (int64, error) {
			return c.rangeSize, w.get(0, r.Int63n(c.size-c.rangeSize), c.rangeSize)
		},
	}[c.op]
	if !known {
		return result{}, fmt.Errorf("no such work: %s", c.op)
	}
	shared := newBodies()
	clients := make([]*client, c.clients)
	for n := range clients {
		clients[n] = newClient(c, target, shared)
	}
	durations := make([][]float64, c.clients)
	var next, errors, moved atomic.Int64
	var failure atomic.Value
	next.Store(c.first)
	go watch(&next)
	before, start := processorSeconds(), time.Now()
	deadline := start.Add(time.Duration(c.seconds * float64(time.Second)))
	var wait sync.WaitGroup
	for n, one := range clients {
		wait.Go(func() {
			random := rand.New(rand.NewSource(int64(n) + start.UnixNano()))
			for errors.Load() <= 10 {
				began := time.Now()
				number := next.Add(1) - 1
				if c.times > 0 && number-c.first >= c.times || c.times == 0 && began.After(deadline) {
					return
				}
				amount, err := work(one, number, random)
				if err != nil {
					errors.Add(1)
					failure.Store(err.Error())
					continue
				}
				moved.Add(amount)
				durations[n] = append(durations[n], time.Since(began).Seconds()*1000)
			}
		})
	}
	wait.Wait()
	r := result{Op: c.op, Errors: errors.Load(), Bytes: moved.Load(), Seconds: time.Since(start).Seconds(),
		LastName: next.Load(), Processor: processorSeconds() - before}
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
	return r, nil
}

func watch(progress *atomic.Int64) {
	for {
		before := progress.Load()
		time.Sleep(patience)
		if progress.Load() == before {
			fmt.Fprintf(os.Stderr, "no answer for %v\n", patience)
			os.Exit(1)
		}
	}
}

func processorSeconds() float64 {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return float64(used.Utime.Sec+used.Stime.Sec) + float64(used.Utime.Usec+used.Stime.Usec)/1e6
}
