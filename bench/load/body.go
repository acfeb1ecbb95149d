package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand"
)

const (
	blockSize = 4194301 // a prime: no part, package or page of a server starts where it does
	stampSize = 16
)

// Bodies is what objects consist of: one random block over and over, and in place of its first bytes the object's number.
// So every object is another, and any byte of any of them is known.
type bodies struct{ block []byte }

func newBodies() bodies {
	block := make([]byte, blockSize)
	rand.New(rand.NewSource(1)).Read(block)
	return bodies{block}
}

func stamp(number int64) []byte { return fmt.Appendf(nil, "%0*d", stampSize, number) }

// pieces returns the bytes from at on, length of them, of the object with the number.
func (b bodies) pieces(number, at, length int64) [][]byte {
	var all [][]byte
	if at < stampSize {
		first := stamp(number)[at:min(stampSize, at+length)]
		all = append(all, first)
		at, length = at+int64(len(first)), length-int64(len(first))
	}
	for length > 0 {
		from := at % blockSize
		piece := b.block[from:min(blockSize, from+length)]
		all = append(all, piece)
		at, length = at+int64(len(piece)), length-int64(len(piece))
	}
	return all
}

// holds tells whether these are the bytes from at on of the object with the number.
func (b bodies) holds(number, at int64, got []byte) bool {
	for _, piece := range b.pieces(number, at, int64(len(got))) {
		if !bytes.Equal(piece, got[:len(piece)]) {
			return false
		}
		got = got[len(piece):]
	}
	return true
}

func (b bodies) sha256(number, size int64) string {
	h := sha256.New()
	for _, piece := range b.pieces(number, 0, size) {
		h.Write(piece)
	}
	return hex.EncodeToString(h.Sum(nil))
}
