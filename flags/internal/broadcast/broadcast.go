// Package broadcast tells any number of listeners that something has changed.
package broadcast

import (
	"context"
	"sync"
)

// Broadcast is ready to use, by any number of goroutines.
type Broadcast struct {
	mu   sync.Mutex
	next chan struct{} // closed by the next Tell; nil while nobody waits for it
}

// Tell wakes those who watch. It doesn't block.
func (b *Broadcast) Tell() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
}

// Watch calls told at once, for what came before, and behind each Tell, until ctx ends. Several that come while told runs are one.
func (b *Broadcast) Watch(ctx context.Context, told func()) {
	for ctx.Err() == nil {
		next := b.waitable() // before told looks at what there is, so that nothing falls between
		told()
		select {
		case <-ctx.Done():
		case <-next:
		}
	}
}

func (b *Broadcast) waitable() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = make(chan struct{})
	}
	return b.next
}
