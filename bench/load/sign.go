package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strings"
	"time"
)

const (
	unsignedPayload = "UNSIGNED-PAYLOAD"
	emptyPayload    = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// A header is a name in lower case and a value, as it is signed and sent.
type header struct{ name, value string }

// A signer signs requests with AWS Signature Version 4. The signing key is derived once a day, the signature computed for
// each request. It belongs to one client: its buffers are used again.
type signer struct {
	access, secret, region string
	day, second            string
	unix                   int64
	mac                    hash.Hash // keyed with the signing key of the day
	canonical, names       []byte
}

func (s *signer) renew(now time.Time) {
	if unix := now.Unix(); unix != s.unix {
		s.unix = unix
		s.second = now.UTC().Format("20060102T150405Z")
		if day := s.second[:8]; day != s.day {
			s.day = day
			key := []byte("AWS4" + s.secret)
			for _, piece := range []string{day, s.region, "s3", "aws4_request"} {
				mac := hmac.New(sha256.New, key)
				mac.Write([]byte(piece))
				key = mac.Sum(nil)
			}
			s.mac = hmac.New(sha256.New, key)
		}
	}
}

// appendSigned appends the headers, which must be sorted by name, x-amz-date among them with an empty value, and the
// Authorization header to a request's head. path and query are in their canonical form.
func (s *signer) appendSigned(head []byte, method, path, query, payload string, headers []header) []byte {
	s.renew(time.Now())
	c, names := s.canonical[:0], s.names[:0]
	c = append(append(append(append(append(append(c, method...), '\n'), path...), '\n'), query...), '\n')
	for i, h := range headers {
		value := h.value
		if h.name == "x-amz-date" {
			value = s.second
		}
		if i > 0 {
			names = append(names, ';')
		}
		names = append(names, h.name...)
		c = append(append(append(append(c, h.name...), ':'), value...), '\n')
		head = append(append(append(append(head, h.name...), ": "...), value...), "\r\n"...)
	}
	c = append(append(append(append(c, '\n'), names...), '\n'), payload...)
	hashed := sha256.Sum256(c)
	scope := s.day + "/" + s.region + "/s3/aws4_request"
	c = append(append(append(append(c[:0], "AWS4-HMAC-SHA256\n"...), s.second...), '\n'), scope...)
	c = hex.AppendEncode(append(c, '\n'), hashed[:])
	s.mac.Reset()
	s.mac.Write(c)
	var signature [sha256.Size]byte
	head = append(append(append(append(head, "authorization: AWS4-HMAC-SHA256 Credential="...), s.access...), '/'), scope...)
	head = append(append(append(head, ", SignedHeaders="...), names...), ", Signature="...)
	head = append(hex.AppendEncode(head, s.mac.Sum(signature[:0])), "\r\n"...)
	s.canonical, s.names = c, names
	return head
}

// escape encodes a value of a query as Signature Version 4 asks.
func escape(value string) string {
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteString(strings.ToUpper(hex.EncodeToString([]byte{c})))
		}
	}
	return b.String()
}
