package pgproxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Kinds of messages that matter here (Postgres documentation, "Message Formats").
const (
	msgParse, msgBind, msgExecute, msgQuery, msgSync = 'P', 'B', 'E', 'Q', 'S'

	msgCommandComplete, msgEmptyQuery, msgPortalSuspended = 'C', 'I', 's'
	msgKey, msgCopyIn, msgError, msgReady                 = 'K', 'G', 'E', 'Z'
)

// Codes of first packets that are no start-up.
const codeCancel, codeSSL, codeGSS = 80877102, 80877103, 80877104

// flush makes the server send what it has answered so far.
var flush = message{'H', 0, 0, 0, 4}

// maxMessage is far above what a test sends; beyond it the stream is taken for broken.
const maxMessage = 64 << 20

var (
	errFrame  = errors.New("no frame of Postgres's protocol")
	errOrphan = errors.New("the connection to cancel was cut")
)

// message with its kind and its length.
type message []byte

func (m message) kind() byte { return m[0] }

// names are the first two strings of a message; of a Query, where there is one, the first.
func (m message) names() (first, second string) {
	a, rest, _ := bytes.Cut(m[5:], []byte{0})
	b, _, _ := bytes.Cut(rest, []byte{0})
	return string(a), string(b)
}

func readMessage(r io.Reader) (message, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	return read(r, head[:], head[1:])
}

// packet is a client's first message: without a kind.
type packet []byte

func (p packet) code() uint32 { return binary.BigEndian.Uint32(p[4:]) }

// key of a request to cancel: process and secret.
func (p packet) key() string { return string(p[8:]) }

func readPacket(r io.Reader) (packet, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	p, err := read(r, head[:], head[:])
	if err == nil && len(p) < 8 {
		return nil, fmt.Errorf("%w: a first packet of %d bytes", errFrame, len(p))
	}
	return p, err
}

// read the rest of a frame whose length counts itself.
func read(r io.Reader, head, length []byte) ([]byte, error) {
	n := int(binary.BigEndian.Uint32(length)) - len(length)
	if n < 0 || n > maxMessage {
		return nil, fmt.Errorf("%w: %d bytes announced", errFrame, n)
	}
	m := make([]byte, len(head)+n)
	copy(m, head)
	_, err := io.ReadFull(r, m[len(head):])
	return m, err
}
