package install

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// source is where a program comes from: a URL or a path.
type source struct {
	url  *url.URL
	path string // absolute
}

// parseSource reads a URL with https, or a path.
func parseSource(text string) (source, error) {
	bad := func(format string, args ...any) (source, error) {
		return source{}, fault.New(CodeSource, fault.Usage, format, args...).
			WithHint("give the path of a program, or a URL that begins with https://")
	}
	if text == "" {
		return bad("nothing was given to install")
	}
	if !strings.Contains(text, "://") {
		absolute, err := filepath.Abs(text)
		if err != nil {
			return bad("the current folder is unknown, so that %q names no file: %w", text, err)
		}
		return source{path: absolute}, nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		// What cannot be read is not repeated: there may be a password in it.
		return bad("the URL cannot be read")
	case u.Scheme != "https":
		return bad("plugins are downloaded with https only, not with %q", u.Scheme)
	case u.Hostname() == "":
		return bad("the URL names no server")
	case u.User != nil:
		return bad("the URL has a user or a password in it, which would stay in logs and in %s", host.LockName)
	}
	return source{url: u}, nil
}

func (s source) remote() bool { return s.url != nil }

// bundle reports whether it is the folder of a bundle.
func (s source) bundle() bool {
	if s.url != nil {
		return false
	}
	info, err := os.Stat(s.path)
	return err == nil && info.IsDir()
}

// origin is what the lock file says: no query, which may grant access.
func (s source) origin() string {
	if s.url == nil {
		return s.path
	}
	return (&url.URL{Scheme: s.url.Scheme, Host: s.url.Host, Path: s.url.Path, RawPath: s.url.RawPath}).String()
}

// base is the name of the file.
func (s source) base() string {
	if s.url == nil {
		return filepath.Base(s.path)
	}
	return path.Base(s.url.Path)
}

// fetch puts the program into a new file and returns its SHA-256.
func (s source) fetch(ctx context.Context, cfg Config, to string, progress func(done, total int64)) (string, error) {
	if s.url != nil {
		return s.download(ctx, cfg, to, progress)
	}
	// The person who names a link means what it leads to.
	real, err := filepath.EvalSymlinks(s.path)
	if err != nil {
		return "", fault.New(CodeSource, fault.Usage, "the program cannot be read: %w", err)
	}
	if s.bundle() {
		return copied(host.CopyBundle(ctx, to, real, false))
	}
	file, err := host.OpenProgram(real)
	if err != nil {
		return "", err
	}
	defer file.Close()
	return copied(host.CopyProgram(ctx, to, file, 0o400, false))
}

// copied gives a code to what went wrong in a copy to the private directory.
func copied(digest string, err error) (string, error) {
	var f *fault.Fault
	if err != nil && !errors.As(err, &f) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		err = fault.New(CodeFolder, fault.Internal, "the program cannot be copied to a private directory: %w", err)
	}
	return digest, err
}

// Limits of a download.
const (
	mostRedirects  = 5
	connectTimeout = 10 * time.Second
	headerTimeout  = 30 * time.Second
)

func defaultTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSHandshakeTimeout:   connectTimeout,
		ResponseHeaderTimeout: headerTimeout,
		ForceAttemptHTTP2:     true,
		DisableKeepAlives:     true,
		// The digest is that of the bytes as they are served.
		DisableCompression: true,
	}
}

// errStalled is why a download that brings nothing is given up.
var errStalled = errors.New("nothing came")

// download gets the program from a server. Addresses that redirects lead to are never
// shown: they often grant access.
func (s source) download(ctx context.Context, cfg Config, to string, progress func(done, total int64)) (string, error) {
	transport := cfg.Transport
	if transport == nil {
		transport = defaultTransport()
	}
	stall := cfg.Stall
	if stall <= 0 {
		stall = DefaultStall
	}
	caller := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	client := &http.Client{Transport: transport, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		switch {
		case req.URL.Scheme != "https":
			return fault.New(CodeDownload, fault.Connect, "%s leads to an address without https", s.origin())
		case len(via) > mostRedirects:
			return fault.New(CodeDownload, fault.Connect, "%s leads from one address to another more than %d times",
				s.origin(), mostRedirects)
		}
		req.Header.Del("Referer")
		return nil
	}}
	failed := func(err error) error {
		var f *fault.Fault
		var u *url.Error
		switch {
		case caller.Err() != nil:
			return context.Cause(caller)
		case errors.As(err, &f):
			return f
		case errors.Is(context.Cause(ctx), errStalled):
			err = fmt.Errorf("nothing came for %s", stall)
		case errors.As(err, &u):
			err = u.Err // without the address
		}
		return fault.New(CodeDownload, fault.Connect, "%s cannot be downloaded: %w", s.origin(), err).WithRetry()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url.String(), nil)
	if err != nil {
		return "", failed(err)
	}
	req.Header.Set("Accept", "application/octet-stream, */*")
	req.Header.Set("User-Agent", "cipherstream")
	timer := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer timer.Stop()
	resp, err := client.Do(req)
	if err != nil {
		return "", failed(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		f := fault.New(CodeDownload, fault.Connect, "%s cannot be downloaded: the server answered %d", s.origin(),
			resp.StatusCode)
		if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
			f.WithRetry()
		}
		return "", f
	}
	if resp.ContentLength > host.MaxProgram {
		return "", tooLarge(s)
	}
	body := &meter{from: resp.Body, total: resp.ContentLength, tell: progress, alive: func() { timer.Reset(stall) }}
	digest, err := write(to, body, host.MaxProgram)
	switch {
	case body.err != nil:
		return "", failed(body.err)
	case ctx.Err() != nil:
		// A server may answer our going away with an orderly end.
		return "", failed(ctx.Err())
	case errors.Is(err, errTooLarge):
		return "", tooLarge(s)
	}
	return copied(digest, err)
}

func tooLarge(s source) error {
	return fault.New("plugin.program", fault.Usage,
		"%s is larger than %d MiB, the most that a plugin's program may have", s.origin(), host.MaxProgram>>20)
}

// meter tells how much was read, and remembers why reading failed.
type meter struct {
	from        io.Reader
	done, total int64
	tell        func(done, total int64)
	alive       func()
	told        time.Time
	err         error
}

// tellEvery is the time between two tellings.
const tellEvery = 100 * time.Millisecond

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	m.done += int64(n)
	if n > 0 {
		m.alive()
	}
	if now := time.Now(); m.tell != nil && (err != nil || now.Sub(m.told) >= tellEvery) {
		m.told = now
		m.tell(m.done, m.total)
	}
	if err != nil && err != io.EOF {
		m.err = err
	}
	return n, err
}

var errTooLarge = errors.New("too large")

// write writes what is read, at most limit bytes, to a new file and returns its SHA-256.
func write(path string, from io.Reader, limit int64) (string, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o400)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(file, hash), io.LimitReader(from, limit+1))
	if err == nil && n > limit {
		err = errTooLarge
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return hex.EncodeToString(hash.Sum(nil)), err
}
