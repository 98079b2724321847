package changes

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// Poster posts to receivers; *HTTPPoster does.
type Poster interface {
	// Post makes one request, and reads its answer. The error is a fault; status is 0 where there was no answer.
	Post(ctx context.Context, p Post) (Reply, error)
}

// Post is a request.
type Post struct {
	Stream store.Stream
	Secret config.Secret
	// Body is JSON, not compressed yet.
	Body []byte
}

// Reply is what a receiver has answered.
type Reply struct {
	Status     int
	RetryAfter time.Duration
	Body       []byte
}

// PosterConfig is what an HTTPPoster is made of.
type PosterConfig struct {
	// Allow are networks that may be posted to although they are not public. The default is none.
	Allow []netip.Prefix
	// Resolver finds addresses; the default is that of the system.
	Resolver *net.Resolver
	// Roots sign the certificates of receivers that have no pins; the default are those of the system.
	Roots *x509.CertPool
}

// HTTPPoster posts with HTTPS to addresses that customers have given: to public ones only, through no proxy, following nowhere.
type HTTPPoster struct{ cfg PosterConfig }

// NewPoster returns a poster.
func NewPoster(cfg PosterConfig) *HTTPPoster { return &HTTPPoster{cfg} }

// Post makes one request.
func (p *HTTPPoster) Post(ctx context.Context, post Post) (Reply, error) { return Reply{}, errNotYet }
