package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Client is the work of an operator on a service that runs.
type Client struct {
	base string // without the slash behind it
	key  config.Secret
	http *http.Client
}

var _ Manage = (*Client)(nil)

// mostAnswer bounds what is read of an answer, in bytes.
const mostAnswer = 64 << 20

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Connect returns a client of a service elsewhere, with a key of an operator. The server is its address, such as
// https://api.example.org: of https, so that nobody on the way reads the key, or of this machine itself. Over is how
// the requests go out (certificates, pins); nil is http.DefaultTransport's way. Redirects are not followed.
func Connect(server string, key config.Secret, over http.RoundTripper) (*Client, error) {
	u, err := url.Parse(server)
	switch {
	case err != nil, u.Host == "", u.User != nil, u.RawQuery != "", u.Fragment != "",
		u.Scheme != "https" && u.Scheme != "http":
		return nil, fault.New(CodeServer, fault.Usage, "the server is not an address such as https://api.example.org")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fault.New(CodeServer, fault.Usage,
			"the server's address is of http on another machine: anybody on the way would read the key").
			WithHint("give its https address")
	}
	client := &http.Client{Transport: over, CheckRedirect: noRedirect}
	return &Client{base: strings.TrimSuffix(u.String(), "/"), key: key, http: client}, nil
}

func loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.Unmap().IsLoopback()
}

// Close lets connections go that wait for another request.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// ask sends a request, and reads the answer into a value. Path is escaped.
func (c *Client) ask(ctx context.Context, method, path string, body, answer any) error {
	var text io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return badRequest("the request cannot be written as JSON: %w", err)
		}
		text = bytes.NewReader(encoded)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+Prefix+path, text)
	if err != nil {
		return badRequest("the request cannot be made: %w", err)
	}
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if key := c.key.Reveal(); key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	response, err := c.http.Do(r)
	if err != nil {
		return unreachable(ctx, err)
	}
	defer response.Body.Close()
	encoded, err := io.ReadAll(io.LimitReader(response.Body, mostAnswer))
	if err != nil {
		return unreachable(ctx, err)
	}
	if response.StatusCode != http.StatusOK {
		return refusal(response.StatusCode, encoded)
	}
	if err := json.Unmarshal(encoded, answer); err != nil {
		return fault.New(CodeConnection, fault.Connect, "the service's answer is not one of this version's: %w", err)
	}
	return nil
}

func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var network net.Error
	f := fault.New(CodeConnection, fault.Connect, "the service cannot be reached: %w", err)
	if errors.As(err, &network) {
		f.WithRetry()
	}
	return f
}

// refusal is the fault that the service has answered with.
func refusal(status int, encoded []byte) error {
	var p problem
	if err := json.Unmarshal(encoded, &p); err != nil || p.Error.Code == "" {
		return fault.New(CodeConnection, fault.Connect, "the service, or what stands before it, has answered %d %s",
			status, http.StatusText(status)).WithHint("check the address of the server")
	}
	class := fault.Class(p.Error.Class)
	switch {
	case class != "":
	case status < http.StatusInternalServerError:
		class = fault.Usage
	default:
		class = fault.Internal
	}
	return &fault.Fault{Code: p.Error.Code, Class: class, Message: p.Error.Message, Hint: p.Error.Suggestion,
		Details: p.Error.Details, Retryable: p.Error.Retryable}
}

// CreateKey has the service issue a bearer key.
func (c *Client) CreateKey(ctx context.Context, want customer.NewKey) (k customer.IssuedKey, err error) {
	err = c.ask(ctx, http.MethodPost, "keys", want, &k)
	return k, err
}

// ListKeys lists a customer's bearer keys, or all of them when none is named.
func (c *Client) ListKeys(ctx context.Context, customer string) ([]customer.KeyInfo, error) {
	path := "keys"
	if customer != "" {
		path += "?" + url.Values{"customer": {customer}}.Encode()
	}
	var list keyList
	err := c.ask(ctx, http.MethodGet, path, nil, &list)
	return list.Keys, err
}

// RevokeKey has the service end a bearer key.
func (c *Client) RevokeKey(ctx context.Context, id string) (k customer.KeyInfo, err error) {
	err = c.ask(ctx, http.MethodPost, "keys/"+url.PathEscape(id)+"/revoke", nil, &k)
	return k, err
}

// RotateKey has the service issue a bearer key in the place of another. The grace is rounded up to seconds.
func (c *Client) RotateKey(ctx context.Context, id string, grace time.Duration) (k customer.IssuedKey, err error) {
	seconds := int64(grace / time.Second)
	if grace%time.Second > 0 {
		seconds++
	}
	err = c.ask(ctx, http.MethodPost, "keys/"+url.PathEscape(id)+"/rotate", rotation{seconds}, &k)
	return k, err
}

// ListCustomers lists the customers.
func (c *Client) ListCustomers(ctx context.Context) ([]customer.Info, error) {
	var list customerList
	err := c.ask(ctx, http.MethodGet, "customers", nil, &list)
	return list.Customers, err
}

// Enable takes a customer into service again.
func (c *Client) Enable(ctx context.Context, id string) (info customer.Info, err error) {
	err = c.ask(ctx, http.MethodPost, "customers/"+url.PathEscape(id)+"/enable", nil, &info)
	return info, err
}

// Disable takes a customer out of service.
func (c *Client) Disable(ctx context.Context, id string) (info customer.Info, err error) {
	err = c.ask(ctx, http.MethodPost, "customers/"+url.PathEscape(id)+"/disable", nil, &info)
	return info, err
}

// ListSealingKeys lists a customer's sealing keys.
func (c *Client) ListSealingKeys(ctx context.Context, customer string) ([]customer.SealingKeyInfo, error) {
	var list sealingKeyList
	err := c.ask(ctx, http.MethodGet, sealingPath(customer), nil, &list)
	return list.SealingKeys, err
}

// NewSealingKey has the service issue a sealing key.
func (c *Client) NewSealingKey(ctx context.Context, customer string) (k customer.IssuedSealingKey, err error) {
	err = c.ask(ctx, http.MethodPost, sealingPath(customer), nil, &k)
	return k, err
}

// ActivateSealingKey makes a sealing key the one that seals.
func (c *Client) ActivateSealingKey(ctx context.Context, customer, id string) (k customer.SealingKeyInfo, err error) {
	err = c.ask(ctx, http.MethodPost, sealingPath(customer)+"/"+url.PathEscape(id)+"/activate", nil, &k)
	return k, err
}

// RetireSealingKey ends sealing with a key.
func (c *Client) RetireSealingKey(ctx context.Context, customer, id string) (k customer.SealingKeyInfo, err error) {
	err = c.ask(ctx, http.MethodPost, sealingPath(customer)+"/"+url.PathEscape(id)+"/retire", nil, &k)
	return k, err
}

// Announce has the service tell every customer of a maintenance.
func (c *Client) Announce(ctx context.Context, want customer.Maintenance) (a customer.Announced, err error) {
	err = c.ask(ctx, http.MethodPost, "maintenance", want, &a)
	return a, err
}

// Deliveries has the service say how it stands with what customers are told.
func (c *Client) Deliveries(ctx context.Context) (d customer.Deliveries, err error) {
	err = c.ask(ctx, http.MethodGet, "deliveries", nil, &d)
	return d, err
}

func sealingPath(customer string) string {
	return "customers/" + url.PathEscape(customer) + "/sealing-keys"
}

// How often, and for how long, Pick tries a data directory that is in use by somebody who does not answer.
const (
	pickEvery = 100 * time.Millisecond
	pickFor   = 5 * time.Second
)

// Pick returns a client of the service that runs with a data directory, or, where none does, what direct opens: the
// record itself. When another process has locked the record and does not answer, a service that starts or ends, or
// another command, it tries again for five seconds. Done is to be called at the end.
func Pick(
	ctx context.Context, dir string, direct func() (m Manage, done func() error, err error),
) (m Manage, done func() error, err error) {
	over, cancel := context.WithTimeout(ctx, pickFor)
	defer cancel()
	ticker := time.NewTicker(pickEvery)
	defer ticker.Stop()
	for {
		client, err := Dial(ctx, dir)
		if err == nil {
			return client, client.Close, nil
		}
		if !fault.Is(err, CodeNotRunning) {
			return nil, nil, err
		}
		m, done, err := direct()
		if !fault.Is(err, store.CodeLocked) {
			return m, done, err
		}
		select {
		case <-ticker.C:
		case <-over.Done():
			if ctx.Err() != nil {
				return nil, nil, context.Cause(ctx)
			}
			return nil, nil, err
		}
	}
}
