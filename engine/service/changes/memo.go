package changes

import (
	"context"
	"encoding/json"
	"maps"
	"strings"
	"sync"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// memo is what a stream keeps of itself beside the source's position, and in one text with it, so that it is written in the same
// transaction, by whoever has the lease, and known to whoever has it next: the record asks nothing of a position.
type memo struct {
	// Followed are the channels whose changes the position covers: one that is enabled later was not read so far.
	Followed []string `json:"followed,omitempty"`
	// Anew: a reset has asked for a copy of everything, and it goes on.
	Anew bool `json:"anew,omitempty"`
	// Sent are the requests of the last minute.
	Sent sent `json:"sent,omitzero"`
	// Last is the last request of each channel.
	Last map[string]Request `json:"last,omitempty"`
	// Reading is why the source, which is tried again, could not be read.
	Reading *store.StreamFault `json:"reading,omitempty"`
}

// text is the memo and a position, as the record has them: a line of JSON, and the position as it came.
func (m memo) text(position string) string {
	line, err := json.Marshal(m)
	if err != nil {
		panic(err) // of texts and numbers
	}
	return string(line) + "\n" + position
}

// readMemo takes the record's text apart. An empty one is that of a stream that has read and sent nothing, or of one whose
// position was just forgotten.
func readMemo(text string) (m memo, position string, err error) {
	if text == "" {
		return memo{}, "", nil
	}
	line, position, ok := strings.Cut(text, "\n")
	if err := json.Unmarshal([]byte(line), &m); !ok || err != nil {
		return memo{}, "", fault.New("internal", fault.Internal, "the position of a stream is not as it was written")
	}
	return m, position, nil
}

// book is the log of a stream as who holds it writes to it: everything under the fence of the lease, and the memo and the
// position by one at a time, so that neither sender nor reader puts the other's back to an earlier state.
type book struct {
	log   store.StreamLog
	fence int64
	limit *limit

	mu       sync.Mutex
	memo     memo
	position string
	doubtful bool // whether the last write was made is not known
}

// load reads what is written, for who begins.
func (b *book) load(ctx context.Context) (store.StreamState, error) {
	state, err := b.log.State(ctx)
	if err != nil {
		return state, err
	}
	b.memo, b.position, err = readMemo(state.Position)
	b.doubtful = err != nil
	return state, err
}

// state is how far the stream is, with the memo and the source's position.
func (b *book) state(ctx context.Context) (state store.StreamState, m memo, position string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	state, err = b.load(ctx)
	return state, b.memo, b.position, err
}

// append writes changes, and the position behind them, with a change of the memo, if it is not empty.
func (b *book) append(ctx context.Context, position string, changes []store.Change, change func(*memo)) (numbered int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.write(ctx, position, changes, change)
}

// note changes the memo.
func (b *book) note(ctx context.Context, change func(*memo)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err := b.write(ctx, "", nil, change)
	return err
}

// write writes changes, and the memo where there is a position or no change.
func (b *book) write(ctx context.Context, position string, changes []store.Change, change func(*memo)) (numbered int, err error) {
	if b.doubtful {
		if _, err := b.load(ctx); err != nil {
			return 0, err
		}
	}
	next := b.memo
	next.Last = maps.Clone(next.Last)
	change(&next)
	next.Sent = b.limit.sent()
	a := store.Append{Changes: changes}
	if position != "" || len(changes) == 0 {
		if position == "" {
			position = b.position
		}
		a.Position = next.text(position)
	}
	if numbered, err = b.log.Append(ctx, b.fence, a); err != nil {
		b.doubtful = true
		return 0, err
	}
	if a.Position != "" {
		b.memo, b.position = next, position
	}
	return numbered, nil
}
