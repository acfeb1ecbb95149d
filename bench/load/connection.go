package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"syscall"
)

const bufferSize = 256 << 10

// A connection is one kept-alive HTTP/1.1 connection: requests are written whole, answers read strictly. What may not be is an
// error; after an error it is closed, and the next request opens it anew.
type connection struct {
	target *url.URL
	net    net.Conn
	raw    syscall.RawConn // nil over TLS
	buffer []byte
	from   int // buffer[from:to] was received and not yet taken
	to     int
}

// An answer is the head of a response; etag is valid until the next request.
type answer struct {
	status       int
	length       int64 // of the body; -1: in chunks
	etag         []byte
	contentRange []byte
	closes       bool
}

func (c *connection) open() error {
	if c.net != nil {
		return nil
	}
	opened, err := net.Dial("tcp", c.target.Host)
	if err != nil {
		return err
	}
	c.from, c.to = 0, 0
	if c.target.Scheme == "https" {
		c.net, c.raw = tls.Client(opened, &tls.Config{ServerName: c.target.Hostname()}), nil
		return nil
	}
	c.net = opened
	c.raw, err = opened.(*net.TCPConn).SyscallConn()
	return err
}

func (c *connection) close() {
	if c.net != nil {
		c.net.Close()
		c.net = nil
	}
}

// send writes a request, head and body together.
func (c *connection) send(head []byte, body [][]byte) error {
	if len(body) == 0 {
		_, err := c.net.Write(head)
		return err
	}
	all := append(net.Buffers{head}, body...)
	_, err := all.WriteTo(c.net)
	return err
}

// more receives something; what was not yet taken moves to the buffer's start.
func (c *connection) more() error {
	copy(c.buffer, c.buffer[c.from:c.to])
	c.from, c.to = 0, c.to-c.from
	if c.to == len(c.buffer) {
		return errors.New("a line or head is too long")
	}
	n, err := c.net.Read(c.buffer[c.to:])
	c.to += n
	if n > 0 {
		return nil
	}
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// until takes what stands before the mark, and the mark, which is left out of what is returned.
func (c *connection) until(mark string) ([]byte, error) {
	for searched := 0; ; {
		pending := c.buffer[c.from:c.to]
		if i := bytes.Index(pending[searched:], []byte(mark)); i >= 0 {
			i += searched
			c.from += i + len(mark)
			return pending[:i], nil
		}
		searched = max(0, len(pending)-len(mark)+1)
		if err := c.more(); err != nil {
			return nil, err
		}
	}
}

// receive takes a response's head; bodiless: its request was a HEAD.
func (c *connection) receive(bodiless bool) (answer, error) {
	a := answer{length: -2}
	head, err := c.until("\r\n\r\n")
	if err != nil {
		return a, err
	}
	line, head, _ := bytes.Cut(head, []byte("\r\n"))
	if len(line) < 12 || string(line[:9]) != "HTTP/1.1 " {
		return a, fmt.Errorf("not a status line: %q", line)
	}
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return a, err
	}
	for len(head) > 0 {
		line, head, _ = bytes.Cut(head, []byte("\r\n"))
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 {
			return a, fmt.Errorf("not a header: %q", line)
		}
		name, value := line[:colon], bytes.TrimSpace(line[colon+1:])
		switch {
		case is(name, "content-length"):
			if a.length, err = strconv.ParseInt(string(value), 10, 64); err != nil || a.length < 0 {
				return a, fmt.Errorf("not a length: %q", value)
			}
		case is(name, "transfer-encoding"):
			if !is(value, "chunked") {
				return a, fmt.Errorf("unknown transfer encoding %q", value)
			}
			a.length = -1
		case is(name, "etag"):
			a.etag = value
		case is(name, "content-range"):
			a.contentRange = value
		case is(name, "connection"):
			a.closes = is(value, "close")
		}
	}
	if a.length == -2 && (a.status == 204 || a.status == 304) {
		a.length = 0
	}
	if a.length == -2 && !bodiless {
		return a, errors.New("a response without a length")
	}
	return a, nil
}

func is(got []byte, lower string) bool {
	return len(got) == len(lower) && (string(got) == lower || bytes.EqualFold(got, []byte(lower)))
}

// each hands the next length bytes on as they come; what is handed is valid during the call only.
func (c *connection) each(length int64, take func([]byte) error) error {
	for length > 0 {
		if c.from == c.to {
			if err := c.more(); err != nil {
				return err
			}
		}
		piece := c.buffer[c.from:min(int64(c.to), int64(c.from)+length)]
		if err := take(piece); err != nil {
			return err
		}
		c.from += len(piece)
		length -= int64(len(piece))
	}
	return nil
}

// skip counts the next length bytes off without copying them out of the kernel, where that can be done (MSG_TRUNC).
func (c *connection) skip(length int64) error {
	pending := min(int64(c.to-c.from), length)
	c.from += int(pending)
	length -= pending
	if c.raw == nil {
		return c.each(length, func([]byte) error { return nil })
	}
	for length > 0 {
		var n int
		var failure error
		err := c.raw.Read(func(fd uintptr) bool {
			for {
				n, _, failure = syscall.Recvfrom(int(fd), c.buffer[:min(length, bufferSize)], syscall.MSG_TRUNC)
				if failure != syscall.EINTR {
					return failure != syscall.EAGAIN
				}
			}
		})
		if err = errors.Join(err, failure); err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		length -= int64(n)
	}
	return nil
}

// all takes a whole body, whether it has a length or comes in chunks.
func (c *connection) all(a answer, into []byte) ([]byte, error) {
	keep := func(piece []byte) error {
		into = append(into, piece...)
		return nil
	}
	if a.length >= 0 {
		err := c.each(a.length, keep)
		return into, err
	}
	for {
		line, err := c.until("\r\n")
		if err != nil {
			return into, err
		}
		size, err := strconv.ParseInt(string(line), 16, 32)
		if err != nil {
			return into, err
		}
		if err := c.each(size, keep); err != nil {
			return into, err
		}
		if line, err = c.until("\r\n"); err != nil || len(line) > 0 {
			return into, fmt.Errorf("a chunk that does not end: %q %v", line, err)
		}
		if size == 0 {
			return into, nil
		}
	}
}
