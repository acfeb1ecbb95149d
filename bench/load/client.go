package main

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// signedUpTo is the largest body whose SHA-256 is signed, as SDKs do over plain HTTP. A larger one is sent as UNSIGNED-PAYLOAD,
// as SDKs do over TLS: hashing it would measure SHA-256 and not the server.
const signedUpTo = 64 << 10

// comparedUpTo is the largest body that is compared with what was put each time. Of larger ones a client compares its first, and
// then one in comparedEvery; of the others it counts the bytes.
const (
	comparedUpTo  = 64 << 10
	comparedEvery = 64
)

const partsAtOnce = 4

// A client does one request after the other on a connection of its own (a multipart upload: on partsAtOnce of them).
type client struct {
	c        config
	bodies   bodies
	line     *connection
	signer   signer
	ssec     []header
	headers  []header
	head     []byte
	page     []byte
	read     int64   // large bodies so far
	own      []int64 // objects that mixed put and has not removed
	siblings []*client
}

func newClient(c config, target *url.URL, shared bodies) *client {
	made := &client{c: c, bodies: shared, line: &connection{target: target, buffer: make([]byte, bufferSize)},
		signer: signer{access: c.access, secret: c.secret, region: c.region}}
	if c.ssec {
		key := bytes.Repeat([]byte{7}, 32)
		sum := md5.Sum(key)
		made.ssec = []header{{"x-amz-server-side-encryption-customer-algorithm", "AES256"},
			{"x-amz-server-side-encryption-customer-key", base64.StdEncoding.EncodeToString(key)},
			{"x-amz-server-side-encryption-customer-key-md5", base64.StdEncoding.EncodeToString(sum[:])}}
	}
	return made
}

// A request; payload is the value of x-amz-content-sha256.
type request struct {
	method, path, query, payload string
	headers                      []header // of S3, beside those that every request has
	body                         [][]byte
	length                       int64
}

// ask sends a request and takes the head of its answer, whose status must be the one wanted.
func (w *client) ask(r request, wanted int) (answer, error) {
	if err := w.line.open(); err != nil {
		return answer{}, err
	}
	headers := append(w.headers[:0], header{"host", w.line.target.Host},
		header{"x-amz-content-sha256", r.payload}, header{"x-amz-date", ""})
	headers = append(headers, r.headers...)
	slices.SortFunc(headers, func(a, b header) int { return strings.Compare(a.name, b.name) })
	w.headers = headers
	head := append(append(append(w.head[:0], r.method...), ' '), r.path...)
	if r.query != "" {
		head = append(append(head, '?'), r.query...)
	}
	head = append(head, " HTTP/1.1\r\nuser-agent: strongroom-load\r\naccept-encoding: identity\r\n"...)
	if r.method == "PUT" || r.method == "POST" {
		head = append(strconv.AppendInt(append(head, "content-length: "...), r.length, 10), "\r\n"...)
	}
	if w.c.anew {
		head = append(head, "connection: close\r\n"...)
	}
	head = append(w.signer.appendSigned(head, r.method, r.path, r.query, r.payload, headers), "\r\n"...)
	body := r.body
	if r.length <= signedUpTo {
		for _, piece := range body {
			head = append(head, piece...)
		}
		body = nil
	}
	w.head = head
	if err := w.line.send(head, body); err != nil {
		return answer{}, err
	}
	a, err := w.line.receive(r.method == "HEAD")
	if err != nil {
		return a, err
	}
	if a.status != wanted {
		var text []byte
		if r.method != "HEAD" {
			text, _ = w.line.all(a, nil)
		}
		return a, fmt.Errorf("%s %s: %d %s", r.method, r.path, a.status, text[:min(len(text), 500)])
	}
	return a, nil
}

// done ends what was asked: after an error, or where the client wants a new one each time, the connection is not used again. A
// server that wants that is not compared with those that keep connections.
func (w *client) done(a answer, err error) error {
	if err == nil && a.closes && !w.c.anew {
		err = errors.New("the server keeps no connections")
	}
	if err != nil || w.c.anew {
		w.line.close()
	}
	return err
}

// bare asks for something whose answer has no body that matters, but may have to have an ETag.
func (w *client) bare(r request, wanted int, tagged bool) (answer, error) {
	a, err := w.ask(r, wanted)
	if err == nil && tagged && len(a.etag) == 0 {
		err = fmt.Errorf("%s %s: no ETag", r.method, r.path)
	}
	if err == nil && r.method != "HEAD" {
		a.etag = bytes.Clone(a.etag)
		w.page, err = w.line.all(a, w.page[:0])
	}
	return a, w.done(a, err)
}

func (w *client) path(number int64) string { return "/" + w.c.bucket + "/" + w.c.key(number) }

func (w *client) makeBucket() error {
	a, err := w.bare(request{method: "PUT", path: "/" + w.c.bucket, payload: emptyPayload}, 200, false)
	if a.status == 409 {
		return nil
	}
	return err
}

func (w *client) put(number int64) error {
	payload := unsignedPayload
	if w.c.size <= signedUpTo {
		payload = w.bodies.sha256(number, w.c.size)
	}
	headers := append([]header{{"content-type", "application/octet-stream"}}, w.ssec...)
	_, err := w.bare(request{"PUT", w.path(number), "", payload, headers,
		w.bodies.pieces(number, 0, w.c.size), w.c.size}, 200, true)
	return err
}

func (w *client) stat(number int64) error {
	a, err := w.bare(request{method: "HEAD", path: w.path(number), payload: emptyPayload, headers: w.ssec}, 200, true)
	if err == nil && a.length != w.c.size {
		err = fmt.Errorf("HEAD %s: %d bytes instead of %d", w.path(number), a.length, w.c.size)
	}
	return err
}

func (w *client) remove(number int64) error {
	_, err := w.bare(request{method: "DELETE", path: w.path(number), payload: emptyPayload}, 204, false)
	return err
}

// mixed does one of four things: of 20 requests 9 are GETs, 6 HEADs, 3 PUTs and 2 DELETEs of what this client put (the
// proportions of minio's warp). It returns the bytes that it moved.
func (w *client) mixed(number int64, random *rand.Rand) (int64, error) {
	there := random.Int63n(w.c.objects)
	switch kind := random.Intn(20); {
	case kind < 9:
		return w.c.size, w.get(there, 0, w.c.size)
	case kind < 15:
		return 0, w.stat(there)
	case kind < 18 || len(w.own) == 0:
		w.own = append(w.own, w.c.objects+number)
		return w.c.size, w.put(w.c.objects + number)
	default:
		last := len(w.own) - 1
		gone := w.own[last]
		w.own = w.own[:last]
		return 0, w.remove(gone)
	}
}

// get reads an object, or length bytes of it.
func (w *client) get(number, from, length int64) error {
	r, wanted := request{method: "GET", path: w.path(number), payload: emptyPayload, headers: w.ssec}, 200
	span := ""
	if length < w.c.size {
		span = fmt.Sprintf("%d-%d", from, from+length-1)
		r.headers, wanted = append([]header{{"range", "bytes=" + span}}, w.ssec...), 206
	}
	a, err := w.ask(r, wanted)
	if err == nil {
		err = w.content(a, number, from, length, span)
	}
	return w.done(a, err)
}

func (w *client) content(a answer, number, from, length int64, span string) error {
	if a.length != length {
		return fmt.Errorf("GET %s: %d bytes instead of %d", w.path(number), a.length, length)
	}
	if span != "" && string(a.contentRange) != fmt.Sprintf("bytes %s/%d", span, w.c.size) {
		return fmt.Errorf("GET %s: range %q instead of %s", w.path(number), a.contentRange, span)
	}
	if len(a.etag) == 0 {
		return fmt.Errorf("GET %s: no ETag", w.path(number))
	}
	if length > comparedUpTo {
		w.read++
		if w.read%comparedEvery != 1 {
			return w.line.skip(length)
		}
	}
	return w.line.each(length, func(got []byte) error {
		if !w.bodies.holds(number, from, got) {
			return fmt.Errorf("GET %s: not what was put, at %d", w.path(number), from)
		}
		from += int64(len(got))
		return nil
	})
}

// list asks for a page after the object with the number (-1: the first page), or for the folders below the prefix, and counts
// what is on it.
func (w *client) list(after int64, delimited bool) (int64, error) {
	query := "list-type=2&max-keys=1000&prefix=" + escape(w.c.prefix+"/")
	item, all := []byte("<Contents>"), w.c.objects-after-1
	if delimited {
		query, item = "delimiter=%2F&"+query, []byte("<CommonPrefixes>")
		all = (w.c.objects + w.c.folder - 1) / w.c.folder
	} else if after >= 0 {
		query += "&start-after=" + escape(w.c.key(after))
	}
	r := request{method: "GET", path: "/" + w.c.bucket, query: query, payload: emptyPayload}
	_, err := w.bare(r, 200, false)
	if err != nil {
		return 0, err
	}
	wanted, truncated := min(all, 1000), fmt.Sprintf("<IsTruncated>%t</IsTruncated>", all > 1000)
	if got := int64(bytes.Count(w.page, item)); got != wanted || !bytes.Contains(w.page, []byte(truncated)) {
		return 0, fmt.Errorf("GET %s?%s: %d entries instead of %d, or not %s", r.path, query, got, wanted, truncated)
	}
	return wanted, nil
}

// upload puts an object in parts, partsAtOnce at a time.
func (w *client) upload(number int64) error {
	for len(w.siblings) < partsAtOnce {
		w.siblings = append(w.siblings, newClient(w.c, w.line.target, w.bodies))
	}
	headers := append([]header{{"content-type", "application/octet-stream"}}, w.ssec...)
	begin := request{method: "POST", path: w.path(number), query: "uploads=", payload: emptyPayload, headers: headers}
	if _, err := w.bare(begin, 200, false); err != nil {
		return err
	}
	_, rest, _ := bytes.Cut(w.page, []byte("<UploadId>"))
	id, _, found := bytes.Cut(rest, []byte("</UploadId>"))
	if !found {
		return fmt.Errorf("POST %s: no upload id: %s", w.path(number), w.page)
	}
	upload := escape(string(id))
	etags, err := w.parts(number, upload)
	if err != nil {
		return err
	}
	list := []byte("<CompleteMultipartUpload>")
	for i, etag := range etags {
		list = fmt.Appendf(list, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, etag)
	}
	list = append(list, "</CompleteMultipartUpload>"...)
	if _, err := w.bare(request{"POST", w.path(number), "uploadId=" + upload, unsignedPayload, nil, [][]byte{list},
		int64(len(list))}, 200, false); err != nil {
		return err
	}
	if !bytes.Contains(w.page, []byte("</CompleteMultipartUploadResult>")) {
		return fmt.Errorf("POST %s: not complete: %s", w.path(number), w.page)
	}
	return nil
}

func (w *client) parts(number int64, upload string) ([]string, error) {
	etags := make([]string, (w.c.size+w.c.part-1)/w.c.part)
	failures := make([]error, partsAtOnce)
	var next atomic.Int64
	var wait sync.WaitGroup
	for n, sibling := range w.siblings {
		wait.Go(func() {
			for failures[n] == nil {
				part := next.Add(1)
				if part > int64(len(etags)) {
					return
				}
				from := (part - 1) * w.c.part
				length := min(w.c.part, w.c.size-from)
				query := fmt.Sprintf("partNumber=%d&uploadId=%s", part, upload)
				a, err := sibling.bare(request{"PUT", w.path(number), query, unsignedPayload, w.ssec,
					w.bodies.pieces(number, from, length), length}, 200, true)
				etags[part-1], failures[n] = string(a.etag), err
			}
		})
	}
	wait.Wait()
	return etags, errors.Join(failures...)
}
