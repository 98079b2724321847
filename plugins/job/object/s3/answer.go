package s3

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Bounds of what a server may say, in bytes. A list has a thousand names of 1 KiB, whose letters XML may write in five
// each; all other answers are a few fields.
const (
	maxHeader = 64 << 10
	maxList   = 8 << 20
	maxAnswer = 256 << 10
)

// contentKey marks the context of a request whose answer is the content of an object.
type contentKey struct{}

// withContent marks a request for the content of an object: it is read as it comes, and as long as it comes.
func withContent(ctx context.Context) context.Context {
	return context.WithValue(ctx, contentKey{}, true)
}

// bounded reads the answers of a server to a bound, whatever their length is said to be: the SDK would read all into
// memory, and leave what it cannot parse where it is. The content of an object is left to who asked for it; see
// withContent.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if r.Context().Value(contentKey{}) != nil && r.Method == http.MethodGet && (response.StatusCode == http.StatusOK || response.StatusCode == http.StatusPartialContent) {
		return response, nil
	}
	defer response.Body.Close()
	most := int64(maxAnswer)
	if r.Method == http.MethodGet && response.StatusCode == http.StatusOK {
		most = maxList
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > most {
		return nil, fault.New("sink.answer", fault.Sink, "the store's answer is longer than one of its kind can be, %d bytes", most).
			WithHint("check that the endpoint is an object store")
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}
