// Package put is a sink that delivers the output with one HTTP PUT (RFC 9110, section 9.3.4). The request is sent when
// the run has come to its end well, and not before: until then the output is in a private file. It owns the request, and
// never follows a redirect, which could lead health data elsewhere.
package put

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

type settings struct {
	URL     string        `config:"url,required" doc:"Where to put the output: an https address, or http on this machine."`
	Token   config.Secret `config:"token" kind:"token" doc:"Sent as a bearer token (RFC 6750)."`
	MaxSize config.Size   `config:"max_size" default:"10GiB" min:"1B" doc:"The largest output; that much of the disk is used."`
	Timeout time.Duration `config:"timeout" default:"10m" min:"1s" doc:"The longest time that the request may take."`
}

// Stage defines the sink.
func Stage() sdk.Definition {
	return sdk.DefineSink(sdk.About{
		Name:    "put",
		Summary: "Delivers the output with one HTTP PUT.",
		Doc: `Headers say what the output is: Content-Type, Content-Encoding, Content-Length, and X-Content-SHA256 in
hexadecimal. Every answer but 2xx fails the run; nothing was delivered then.`,
	}, newSink)
}

func newSink(s settings, env sdk.Env) (sdk.Sink, error) {
	target, err := url.Parse(s.URL)
	if err != nil || target.Host == "" || target.Scheme != "https" && !(target.Scheme == "http" && local(target.Hostname())) {
		return nil, fault.New("put.url", fault.Usage, "url must be an https address").WithHint("http is taken for this machine only")
	}
	return &sink{settings: s, env: env, target: target}, nil
}

// local reports whether a host is this machine.
func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

type sink struct {
	settings settings
	env      sdk.Env
	target   *url.URL
	object   sdk.Object
	file     *os.File
	size     int64
	hash     hash.Hash
}

func (s *sink) Open(_ context.Context, object sdk.Object) error {
	s.object, s.hash = object, sha256.New()
	file, err := os.OpenFile(filepath.Join(s.env.Dir, "output"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fault.New("put.disk", fault.Sink, "the output cannot be kept: %w", err)
	}
	s.file = file
	return nil
}

func (s *sink) Write(_ context.Context, p []byte) error {
	if s.size += int64(len(p)); s.size > int64(s.settings.MaxSize) {
		return fault.New("put.too_large", fault.Sink, "the output is larger than %s", s.settings.MaxSize).WithHint("raise max_size")
	}
	s.hash.Write(p)
	if _, err := s.file.Write(p); err != nil {
		return fault.New("put.disk", fault.Sink, "the output cannot be kept: %w", err)
	}
	return nil
}

func (s *sink) Commit(ctx context.Context) (sdk.Receipt, error) {
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return sdk.Receipt{}, fault.New("put.disk", fault.Sink, "the output cannot be read again: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.settings.Timeout)
	defer cancel()
	sum := hex.EncodeToString(s.hash.Sum(nil))
	// Without NopCloser the client would close the file; a body of no bytes must be NoBody to have a length.
	var body io.Reader = io.NopCloser(s.file)
	if s.size == 0 {
		body = http.NoBody
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, s.target.String(), body)
	if err != nil {
		return sdk.Receipt{}, fault.New("put.url", fault.Usage, "url cannot be used").WithHint("check the address")
	}
	request.ContentLength = s.size
	request.Header.Set("Content-Type", s.object.Media.Type)
	request.Header.Set("X-Content-SHA256", sum)
	if e := s.object.Media.ContentEncoding; e != "" {
		request.Header.Set("Content-Encoding", e)
	}
	if token := s.settings.Token.Reveal(); token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		// The client's own text has the whole address in it, which may be a secret.
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return sdk.Receipt{}, fault.New("put.request", fault.Sink, "%s did not take the output: %w", s.target.Host, err).WithRetry()
	}
	response.Body.Close()
	if response.StatusCode/100 != 2 {
		f := fault.New("put.refused", fault.Sink, "%s answered %s", s.target.Host, response.Status)
		if response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests {
			f = f.WithRetry()
		}
		return sdk.Receipt{}, f
	}
	location := url.URL{Scheme: s.target.Scheme, Host: s.target.Host, Path: s.target.Path}
	return sdk.Receipt{Bytes: s.size, SHA256: sum, Location: location.String()}, s.Abort(ctx)
}

// Abort removes the private file. After Commit there is none.
func (s *sink) Abort(context.Context) error {
	if s.file == nil {
		return nil
	}
	name := s.file.Name()
	err := s.file.Close()
	s.file = nil
	return errors.Join(err, os.Remove(name))
}
