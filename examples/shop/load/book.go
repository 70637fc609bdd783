package load

import (
	"math/rand/v2"
	"sync"

	"github.com/contraflow/contraflow/examples/shop/seed"
)

const (
	// One seeded customer in moving is updated by the generator; the others keep the address of the formula for ever, so that
	// a second run on the same table still knows what is right.
	moving = 10
	// maxCreated bounds the memory of a long run: the newest customers are remembered, the others are no longer asked for.
	maxCreated = 10_000
)

// book remembers what every customer's address must be. One writer per customer at a time makes that certain.
type book struct {
	seeded int64

	mu      sync.Mutex
	entries map[int64]*entry
	created []int64 // ring of remembered ids
	oldest  int
}

// entry of one customer whose address is not the formula's.
type entry struct {
	// possible addresses: one, or more while a write is under way and after one that failed, which may have taken effect or not.
	possible []string
	// known is false for a seeded customer until the first write succeeds: an earlier run may have moved it.
	known   bool
	writing bool
	readers map[*read]struct{}
}

// read under way: any address that was possible at some moment of it is right.
type read struct {
	id       int64
	entry    *entry
	possible []string
}

func newBook(seeded int64) *book {
	return &book{seeded: seeded, entries: map[int64]*entry{}}
}

// add a customer that was created with this address.
func (b *book) add(id int64, address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries[id] = &entry{possible: []string{address}, known: true, readers: map[*read]struct{}{}}
	if len(b.created) < maxCreated {
		b.created = append(b.created, id)
		return
	}
	delete(b.entries, b.created[b.oldest])
	b.created[b.oldest] = id
	b.oldest = (b.oldest + 1) % maxCreated
}

// beginRead picks a customer to read; false if the choice falls on none whose address is certain.
func (b *book) beginRead(random *rand.Rand) (*read, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id, ok := b.pick(random)
	if !ok {
		return nil, false
	}
	e := b.entries[id]
	if e == nil && id%moving == 0 || e != nil && !e.known {
		return nil, false
	}
	if e == nil {
		return &read{id: id, possible: []string{seed.Address(id)}}, true
	}
	r := &read{id: id, entry: e, possible: append([]string(nil), e.possible...)}
	e.readers[r] = struct{}{}
	return r, true
}

// pick any customer there is: seeded and created ones alike where both exist.
func (b *book) pick(random *rand.Rand) (int64, bool) {
	if b.seeded > 0 && (len(b.created) == 0 || random.IntN(2) == 0) {
		return 1 + random.Int64N(b.seeded), true
	}
	if len(b.created) == 0 {
		return 0, false
	}
	return b.created[random.IntN(len(b.created))], true
}

// endRead gives every address that was right at some moment of the read.
func (b *book) endRead(r *read) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.entry != nil {
		delete(r.entry.readers, r)
	}
	return r.possible
}

// remembered customers whose address is certain and not the formula's, when no write is under way any more.
func (b *book) remembered() []*read {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []*read
	for id, e := range b.entries {
		if e.known {
			all = append(all, &read{id: id, possible: append([]string(nil), e.possible...)})
		}
	}
	return all
}

// write under way.
type write struct {
	id      int64
	entry   *entry
	address string
}

// beginWrite picks a customer nobody is writing to; false if the one picked is taken.
func (b *book) beginWrite(random *rand.Rand, address string) (*write, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id, ok := b.pick(random)
	if !ok {
		return nil, false
	}
	e := b.entries[id]
	if e == nil {
		if id -= id % moving; id == 0 {
			return nil, false
		}
		if e = b.entries[id]; e == nil {
			e = &entry{readers: map[*read]struct{}{}}
			b.entries[id] = e
		}
	}
	if e.writing {
		return nil, false
	}
	e.writing = true
	e.possible = append(e.possible, address)
	for r := range e.readers {
		r.possible = append(r.possible, address)
	}
	return &write{id, e, address}, true
}

// endWrite of a write that succeeded, or may or may not have taken effect.
func (b *book) endWrite(w *write, succeeded bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w.entry.writing = false
	if succeeded {
		w.entry.possible, w.entry.known = []string{w.address}, true
	}
}
