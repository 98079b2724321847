package customer_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	"github.com/cipherstream/cipherstream/engine/service/store/memory"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// clock is the time of a test.
type clock struct{ after atomic.Int64 }

func (c *clock) now() time.Time       { return noon.Add(time.Duration(c.after.Load())) }
func (c *clock) pass(d time.Duration) { c.after.Add(int64(d)) }

// counting counts what is asked of a record.
type counting struct {
	*memory.Store
	reads, touches atomic.Int64
	fail           atomic.Bool
	read           func() // called when the keys were read; nil is nothing
}

var errBroken = fault.New(store.CodeFailed, fault.Internal, "the disk is gone")

func (c *counting) Keys(ctx context.Context) ([]store.Key, error) {
	c.reads.Add(1)
	if c.fail.Load() {
		return nil, errBroken
	}
	keys, err := c.Store.Keys(ctx)
	if c.read != nil {
		c.read()
	}
	return keys, err
}

func (c *counting) TouchKeys(ctx context.Context, used map[string]time.Time) error {
	c.touches.Add(1)
	if c.fail.Load() {
		return errBroken
	}
	return c.Store.TouchKeys(ctx, used)
}

// bench is a registry with customers "live", "other" and "demo", and what it stands on.
type bench struct {
	testing.TB
	clock  *clock
	record *counting
	*customer.Registry
	manage *customer.Manager
}

var (
	home  = netip.MustParseAddr("192.0.2.7")
	admin = netip.MustParsePrefix("10.0.0.0/8")
)

func sealingKey(b byte) config.Secret {
	return config.NewSecret(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32)))
}

func dataKey(t testing.TB, b byte) *datakey.Key {
	t.Helper()
	k, err := datakey.Parse(sealingKey(b))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func setup(t testing.TB, customers ...customer.Customer) *bench {
	t.Helper()
	if customers == nil {
		customers = []customer.Customer{{ID: "other"}, {ID: "live", Name: "Clinic"}, {ID: "demo", Demo: true}}
	}
	b := &bench{TB: t, clock: &clock{}, record: &counting{Store: memory.New()}}
	var err error
	b.Registry, err = customer.New(t.Context(), b.record, customers, customer.Options{
		DataKey: dataKey(t, 9), AdminNetworks: []netip.Prefix{admin}, Now: b.clock.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.manage = b.Manage(customer.Actor{Who: "user:ann", From: "local", RequestID: "req_1"})
	return b
}

func (b *bench) key(want customer.NewKey) customer.IssuedKey {
	b.Helper()
	k, err := b.manage.CreateKey(b.Context(), want)
	if err != nil {
		b.Fatal(err)
	}
	return k
}

// reach is what a caller does: it shows a key, from an address, and asks for a customer.
func (b *bench) reach(text string, from netip.Addr, id string, scope customer.Scope) (*customer.Customer, error) {
	p, err := b.Authenticate(b.Context(), text, from)
	if err != nil {
		return nil, err
	}
	return b.Customer(b.Context(), p, id, scope)
}

func (b *bench) refused(err error, code string) {
	b.Helper()
	if !fault.Is(err, code) {
		b.Errorf("expected %s, got %v", code, err)
	}
}

func (b *bench) ok(err error) {
	b.Helper()
	if err != nil {
		b.Error(err)
	}
}

func (b *bench) equal(got, want any) {
	b.Helper()
	if !reflect.DeepEqual(got, want) {
		b.Errorf("got\n  %+v\nwant\n  %+v", got, want)
	}
}

func TestKeyOpensItsCustomer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	k := b.key(customer.NewKey{Customer: "live", Label: "night run", Scopes: customer.Scopes{customer.Procedures}})
	p, err := b.Authenticate(t.Context(), k.Text, home)
	b.ok(err)
	b.equal(p, customer.Principal{KeyID: k.ID, Kind: store.Live, Customer: "live", Scopes: customer.Scopes{"procedures"}, From: home})
	c, err := b.Customer(t.Context(), p, "live", customer.Procedures)
	b.ok(err)
	if c.ID != "live" || c.Name != "Clinic" {
		t.Errorf("the customer is %+v", c)
	}
}

func TestWhoIsNotLetIn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	good := b.key(customer.NewKey{Customer: "live"})
	expires := b.key(customer.NewKey{Customer: "other", ExpiresAt: noon.Add(time.Hour)})
	revoked := b.key(customer.NewKey{Customer: "other"})
	operator := b.key(customer.NewKey{Admin: true})
	_, err := b.manage.RevokeKey(t.Context(), revoked.ID)
	b.ok(err)
	_, err = b.Authenticate(t.Context(), expires.Text, home)
	b.ok(err)
	b.clock.pass(time.Hour)

	text := good.Text
	another := "A"
	if strings.HasSuffix(text, another) {
		another = "B"
	}
	for name, c := range map[string]struct{ text, code string }{
		"none":                {"", customer.CodeKeyMissing},
		"expired":             {expires.Text, customer.CodeKeyExpired},
		"revoked":             {revoked.Text, customer.CodeKeyRevoked},
		"operator from here":  {operator.Text, customer.CodeAddress},
		"never made":          {newText(t), customer.CodeKeyUnknown},
		"a letter off":        {text[:len(text)-1] + another, customer.CodeKeyUnknown},
		"cut":                 {text[:len(text)-1], customer.CodeKeyUnknown},
		"longer":              {text + "0", customer.CodeKeyUnknown},
		"of another kind":     {strings.Replace(text, "live", "demo", 1), customer.CodeKeyUnknown},
		"its id":              {good.ID, customer.CodeKeyUnknown},
		"its prefix":          {"cs_live_", customer.CodeKeyUnknown},
		"with space":          {" " + text, customer.CodeKeyUnknown},
		"long":                {strings.Repeat(text, 10_000), customer.CodeKeyUnknown},
		"not text":            {"cs_live_\x00\xff", customer.CodeKeyUnknown},
		"other case":          {strings.ToUpper(text), customer.CodeKeyUnknown},
		"a sealing key's":     {sealingKey(1).Reveal(), customer.CodeKeyUnknown},
		"the hash of the key": {strings.Repeat("0", 64), customer.CodeKeyUnknown},
	} {
		_, err := b.Authenticate(t.Context(), c.text, home)
		if !fault.Is(err, c.code) {
			t.Errorf("%s: expected %s, got %v", name, c.code, err)
		}
		if c.text != "" && name != "its id" && strings.Contains(everything(err), c.text) {
			t.Errorf("%s: the error has the key in it: %v", name, err)
		}
	}
	_, err = b.Authenticate(t.Context(), good.Text, home)
	b.ok(err)
	_, err = b.Authenticate(t.Context(), operator.Text, netip.MustParseAddr("::ffff:10.1.2.3"))
	b.ok(err)
}

// newText is a well-formed key that is in no record.
func newText(t testing.TB) string {
	k, err := setup(t).manage.CreateKey(t.Context(), customer.NewKey{Customer: "live"})
	if err != nil {
		t.Fatal(err)
	}
	return k.Text
}

// everything is all that an error may show anywhere.
func everything(err error) string {
	f := fault.From(err)
	if f == nil {
		return ""
	}
	return fmt.Sprintf("%v %+v %#v %s %s %v", err, f, f, f.Message, f.Hint, f.Details)
}

// TestAnotherCustomerIsNobody: from outside, another's customer and one that there is not are the same.
func TestAnotherCustomerIsNobody(t *testing.T) {
	t.Parallel()
	b := setup(t, customer.Customer{ID: "live"}, customer.Customer{ID: "other"}, customer.Customer{ID: "demo", Demo: true},
		customer.Customer{ID: "off"}, customer.Customer{ID: "closed", Networks: []netip.Prefix{admin}})
	_, err := b.manage.Disable(t.Context(), "off")
	b.ok(err)
	live := b.key(customer.NewKey{Customer: "live"})
	demo := b.key(customer.NewKey{Customer: "demo"})
	operator := b.key(customer.NewKey{Admin: true})

	_, nobody := b.reach(live.Text, home, "nobody", customer.Procedures)
	b.refused(nobody, customer.CodeUnknown)
	for _, id := range []string{"other", "demo", "off", "closed", "", "LIVE", "live ", "live/", "../live"} {
		if _, err := b.reach(live.Text, home, id, customer.Procedures); everything(err) != everything(nobody) {
			t.Errorf("%q can be told from one that there is not: %v", id, err)
		}
		// A scope that the key has not got says nothing more.
		if _, err := b.reach(live.Text, home, id, customer.Admin); everything(err) != everything(nobody) {
			t.Errorf("%q can be told from one that there is not: %v", id, err)
		}
	}
	_, err = b.reach(demo.Text, home, "live", customer.Procedures)
	b.equal(everything(err), everything(nobody))
	// An operator's key is no customer's.
	for _, id := range []string{"", "live", "demo"} {
		_, err = b.reach(operator.Text, admin.Addr(), id, customer.Admin)
		b.equal(everything(err), everything(nobody))
	}

	// A demo customer that becomes a live one is nobody for its demo keys, and back.
	_, err = b.reach(demo.Text, home, "demo", customer.Procedures)
	b.ok(err)
	b.ok(b.Replace(t.Context(), []customer.Customer{{ID: "demo"}}))
	_, err = b.reach(demo.Text, home, "demo", customer.Procedures)
	b.equal(everything(err), everything(nobody))
	// One that is declared no more is nobody too.
	_, err = b.reach(live.Text, home, "live", customer.Procedures)
	b.equal(everything(err), everything(nobody))
}

func TestForbidden(t *testing.T) {
	t.Parallel()
	b := setup(t)
	k := b.key(customer.NewKey{Customer: "live", Scopes: customer.Scopes{customer.Jobs}})
	_, err := b.reach(k.Text, home, "live", customer.Procedures)
	b.refused(err, customer.CodeScope)
	_, err = b.reach(k.Text, home, "live", customer.Jobs)
	b.ok(err)

	off, err := b.manage.Disable(t.Context(), "live")
	b.ok(err)
	b.equal(off.Disabled, true)
	_, err = b.reach(k.Text, home, "live", customer.Jobs)
	b.refused(err, customer.CodeDisabled)
	on, err := b.manage.Enable(t.Context(), "live")
	b.ok(err)
	b.equal(on.Disabled, false)
	_, err = b.reach(k.Text, home, "live", customer.Jobs)
	b.ok(err)
}

func TestNetworks(t *testing.T) {
	t.Parallel()
	prefixes := []netip.Prefix{
		netip.MustParsePrefix("192.0.2.128/25"), netip.MustParsePrefix("2001:db8::/32"),
		netip.MustParsePrefix("::ffff:203.0.113.0/120"), // as an operator may write it
		netip.MustParsePrefix("198.51.100.9/24"),        // with bits behind the mask
	}
	b := setup(t, customer.Customer{ID: "live", Networks: prefixes})
	k := b.key(customer.NewKey{Customer: "live"})
	for address, allowed := range map[string]bool{
		"192.0.2.200": true, "192.0.2.7": false, "::ffff:192.0.2.200": true, "::ffff:192.0.2.7": false, "::192.0.2.200": false,
		"2001:db8::1": true, "2001:db8::1%eth0": true, "2001:db9::1": false, "203.0.113.5": true, "::ffff:203.0.113.5": true, "203.0.114.5": false,
		"198.51.100.77": true, "127.0.0.1": false, "::1": false,
	} {
		_, err := b.reach(k.Text, netip.MustParseAddr(address), "live", customer.Procedures)
		if allowed && err != nil || !allowed && !fault.Is(err, customer.CodeAddress) {
			t.Errorf("%s: %v, want allowed %v", address, err, allowed)
		}
	}
	_, err := b.reach(k.Text, netip.Addr{}, "live", customer.Procedures)
	b.refused(err, customer.CodeAddress)

	// Operators' networks are read the same way; none is nowhere.
	for _, c := range []struct {
		networks []netip.Prefix
		from     string
		allowed  bool
	}{
		{[]netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")}, "10.9.9.9", true},
		{[]netip.Prefix{admin}, "::ffff:10.9.9.9", true}, {[]netip.Prefix{admin}, "11.0.0.1", false}, {nil, "127.0.0.1", false},
	} {
		r, err := customer.New(t.Context(), b.record, nil, customer.Options{AdminNetworks: c.networks})
		if err != nil {
			t.Fatal(err)
		}
		operator, err := r.Manage(customer.Actor{}).CreateKey(t.Context(), customer.NewKey{Admin: true})
		b.ok(err)
		if _, err := r.Authenticate(t.Context(), operator.Text, netip.MustParseAddr(c.from)); c.allowed != (err == nil) {
			t.Errorf("%v from %s: %v, want allowed %v", c.networks, c.from, err, c.allowed)
		}
	}
}

// TestDeclarations: every mistake at once, and none of the declarations is taken.
func TestDeclarations(t *testing.T) {
	t.Parallel()
	b := setup(t)
	k := b.key(customer.NewKey{Customer: "live"})
	secret := sealingKey(3).Reveal()
	err := b.Replace(t.Context(), []customer.Customer{
		{ID: "new"}, {ID: "a:b"}, {ID: ""}, {ID: strings.Repeat("x", 65)}, {ID: "new"}, {ID: "streams", Streams: -1},
		{ID: "network", Networks: []netip.Prefix{{}}}, {ID: "mapped", Networks: []netip.Prefix{netip.MustParsePrefix("::ffff:0.0.0.0/90")}},
		{ID: "short", SealingKeys: []config.Secret{config.NewSecret(secret[:40])}},
		{ID: "two", SealingKeys: []config.Secret{config.NewSecret(secret + "," + sealingKey(4).Reveal())}},
		{ID: "first", SealingKeys: []config.Secret{sealingKey(5)}}, {ID: "second", SealingKeys: []config.Secret{sealingKey(6), sealingKey(5)}},
	})
	b.refused(err, customer.CodeInvalid)
	for _, says := range []string{
		"customer 2", "customer 3", "customer 4", `"new": it is declared twice`, `"streams"`, `"network"`, `"mapped"`, `"short": sealing key 1`,
		`"two": sealing key 1`, `"second": sealing key 2`, `for "first"`,
	} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("the error does not say %s: %v", says, err)
		}
	}
	if strings.Contains(everything(err), secret[:20]) {
		t.Errorf("the error has a key in it: %v", err)
	}
	_, err = b.reach(k.Text, home, "live", customer.Procedures)
	b.ok(err)
	list, err := b.manage.ListCustomers(t.Context())
	b.ok(err)
	b.equal(len(list), 3)

	// What was given is copied.
	given := []customer.Customer{{ID: "live", Networks: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, Allow: engine.AllowList{Tables: []string{"t"}},
		Attributes: map[string]any{"site": "1"}, Streams: 3}}
	b.ok(b.Replace(t.Context(), given))
	given[0].Networks[0], given[0].Allow.Tables[0], given[0].Attributes["site"] = admin, "x", "2"
	c, err := b.reach(k.Text, home, "live", customer.Procedures)
	b.ok(err)
	b.equal([]any{c.Allow.Tables[0], c.Attributes["site"], c.Streams}, []any{"t", "1", 3})
}

// TestReloadWhileRunning: each request sees one set of declarations or the other.
func TestReloadWhileRunning(t *testing.T) {
	t.Parallel()
	sets := [2][]customer.Customer{}
	for i := range sets {
		for _, id := range []string{"live", "other", "demo"} {
			sets[i] = append(sets[i], customer.Customer{ID: id, Name: fmt.Sprint(i), Streams: i + 1, SealingKeys: []config.Secret{sealingKey(byte(20 + 3*i + len(sets[i])))}})
		}
	}
	b := setup(t, sets[0]...)
	k := b.key(customer.NewKey{Customer: "live"})
	ctx := t.Context()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, err := b.reach(k.Text, home, "live", customer.Procedures)
				if err != nil {
					t.Error(err)
					return
				}
				if c.Name != fmt.Sprint(c.Streams-1) {
					t.Errorf("half of a set: %+v", c)
				}
				s, err := b.Sealing(ctx, c)
				if err != nil {
					t.Error(err)
					return
				}
				// The key is that of the declaration which the request began with.
				if want := c.SealingKeys[0].Reveal(); s.Key.Reveal() != want {
					t.Error("the key is of another set of declarations")
				}
				if err := s.Done(ctx, 1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 200 {
		b.ok(b.Replace(ctx, sets[i%2]))
		if err := b.Replace(ctx, []customer.Customer{{ID: "live", Name: "never"}, {ID: "live"}}); err == nil {
			t.Error("a wrong set was taken")
		}
		if i%20 == 0 {
			_, err := b.manage.Disable(ctx, "other")
			b.ok(err)
			b.ok(b.Flush(ctx))
		}
	}
	close(stop)
	wg.Wait()
}

// TestNoQueryOnTheWay: who is let in is decided from memory, also who is not, until something changes, by whomever.
func TestNoQueryOnTheWay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	k := b.key(customer.NewKey{Customer: "live"})
	unknown := newText(t)
	ask := func() error {
		_, err := b.Authenticate(t.Context(), unknown, home)
		b.refused(err, customer.CodeKeyUnknown)
		_, err = b.reach(k.Text, home, "live", customer.Procedures)
		return err
	}
	b.ok(ask())
	before := b.record.reads.Load()
	for range 100 {
		b.ok(ask())
	}
	b.equal(b.record.reads.Load(), before)

	// Another registry, or anything else, changes the record.
	b.ok(b.record.SetDisabled(t.Context(), "live", true, store.Audit{}))
	b.refused(ask(), customer.CodeDisabled)
	b.ok(b.record.SetDisabled(t.Context(), "live", false, store.Audit{}))
	b.ok(ask())
	b.ok(b.record.RevokeKey(t.Context(), k.ID, noon, store.Audit{}))
	b.refused(ask(), customer.CodeKeyRevoked)
	b.equal(b.record.reads.Load(), before+3)

	// A record that cannot be read lets nobody in who was let in by what it said before.
	b.ok(b.record.SetDisabled(t.Context(), "other", true, store.Audit{}))
	b.record.fail.Store(true)
	_, err := b.Authenticate(t.Context(), k.Text, home)
	b.refused(err, store.CodeFailed)
	b.record.fail.Store(false)
	b.refused(ask(), customer.CodeKeyRevoked)
}

// TestChangedWhileRead: a change that comes while the keys are read is not missed.
func TestChangedWhileRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	k := b.key(customer.NewKey{Customer: "live"})
	b.record.read = func() {
		b.record.read = nil
		b.ok(b.record.RevokeKey(t.Context(), k.ID, noon, store.Audit{}))
	}
	_, err := b.Authenticate(t.Context(), k.Text, home)
	b.ok(err) // it was good when it was looked at
	_, err = b.Authenticate(t.Context(), k.Text, home)
	b.refused(err, customer.CodeKeyRevoked)
}

// TestRevokedAtOnce: when the one who revokes a key hears of it, the key opens nothing.
func TestRevokedAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 50 {
				k, err := b.manage.CreateKey(t.Context(), customer.NewKey{Admin: true})
				b.ok(err)
				_, err = b.Authenticate(t.Context(), k.Text, admin.Addr())
				b.ok(err)
				_, err = b.manage.RevokeKey(t.Context(), k.ID)
				b.ok(err)
				_, err = b.Authenticate(t.Context(), k.Text, admin.Addr())
				b.refused(err, customer.CodeKeyRevoked)
			}
		})
	}
	wg.Wait()
}

func TestLastUse(t *testing.T) {
	t.Parallel()
	b := setup(t)
	used, unused := b.key(customer.NewKey{Customer: "live"}), b.key(customer.NewKey{Customer: "live"})
	b.ok(b.Flush(t.Context())) // nobody was there yet
	for range 1000 {
		_, err := b.Authenticate(t.Context(), used.Text, home)
		b.ok(err)
		b.clock.pass(time.Millisecond)
	}
	b.equal(b.record.touches.Load(), int64(0))
	// A change in between, and another key that is used after it, forget nothing.
	another := b.key(customer.NewKey{Customer: "other"})
	_, err := b.Authenticate(t.Context(), another.Text, home)
	b.ok(err)
	b.record.fail.Store(true)
	b.refused(b.Flush(t.Context()), store.CodeFailed) // nor does a failure
	b.record.fail.Store(false)
	b.ok(b.Flush(t.Context()))
	b.ok(b.Flush(t.Context()))
	b.equal(b.record.touches.Load(), int64(2))

	list, err := b.manage.ListKeys(t.Context(), "live")
	b.ok(err)
	if at := list[0].LastUsedAt; at.Before(noon) || at.After(b.clock.now()) || b.clock.now().Sub(at) > time.Second {
		t.Errorf("it was last used at %v", at)
	}
	b.equal([]any{list[1].ID, list[1].LastUsedAt.IsZero()}, []any{unused.ID, true})
	// A list is as new as can be.
	b.clock.pass(time.Hour)
	_, err = b.Authenticate(t.Context(), used.Text, home)
	b.ok(err)
	list, err = b.manage.ListKeys(t.Context(), "live")
	b.ok(err)
	b.equal(list[0].LastUsedAt, b.clock.now())
}

func TestParseBearer(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"Bearer cs_live_abc": "cs_live_abc", "bearer cs_live_abc": "cs_live_abc", "BEARER   x": "x", "Bearer a-._~+/9==": "a-._~+/9==",
	} {
		if got, err := customer.ParseBearer(header); err != nil || got != want {
			t.Errorf("%q gives %q, %v", header, got, err)
		}
	}
	for _, header := range []string{
		"", "Bearer", "Bearer ", "Bearer  ", "Bearercs_live_abc", "Basic cs_live_abc", "Bearer cs_live_abc x", "Bearer cs_live_abc ", "Bearer\tcs_live_abc",
		" Bearer cs_live_abc", "Bearer cs_live_abc,Bearer cs_live_abd", "Bearer cs_live_äbc", "Bearer =cs_live_abc", "Bearer cs=live_abc", "Bearer \"cs_live_abc\"",
		"Bearer " + strings.Repeat("cs_live_abc", 1000),
	} {
		text, err := customer.ParseBearer(header)
		if text != "" || !fault.Is(err, customer.CodeKeyMissing) || fault.From(err).Hint == "" {
			t.Errorf("%.60q gives %q, %v", header, text, err)
		}
		if strings.Contains(everything(err), "cs_live") {
			t.Errorf("%.60q: the error has it in it: %v", header, err)
		}
	}
}

func FuzzBearer(f *testing.F) {
	b := setup(f)
	k := b.key(customer.NewKey{Customer: "live"})
	for _, header := range []string{"Bearer " + k.Text, "bearer  " + k.Text[:20], "Basic eDp5", "", "Bearer cs_admin_\x00", "Bearer ====", k.Text} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		text, err := customer.ParseBearer(header)
		if err == nil {
			if text == "" || !strings.HasSuffix(header, text) || len(text) > len(header)-len("Bearer ") {
				t.Fatalf("%q gives %q", header, text)
			}
		} else {
			text = header // whatever a caller gives may be taken for a key
		}
		p, failed := b.Authenticate(t.Context(), text, home)
		if (failed == nil) != (text == k.Text) {
			t.Fatalf("%q: %+v, %v", text, p, failed)
		}
		for _, e := range []error{err, failed} {
			// Eight characters that stand in a text of ours by chance are not a key.
			if says := everything(e); len(text) > 16 && strings.Contains(says, text) {
				t.Fatalf("the error has the text in it: %v", e)
			}
			if e != nil && fault.From(e).Code != customer.CodeKeyMissing && fault.From(e).Code != customer.CodeKeyUnknown {
				t.Fatalf("%q: %v", text, e)
			}
		}
	})
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// TestKeyTexts: as long as promised, all different, and a slip of one letter is seen without a look.
func TestKeyTexts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	seen := map[string]bool{}
	letters := map[rune]int{}
	for range 300 {
		k := b.key(customer.NewKey{Admin: true})
		body, ok := strings.CutPrefix(k.Text, "cs_admin_")
		if !ok || len(body) != 36 || seen[k.Text] || seen[k.ID] || !strings.HasPrefix(k.ID, "key_") || strings.Contains(k.Text, k.ID[4:]) {
			t.Fatalf("the key is %q, its id %q", k.Text, k.ID)
		}
		seen[k.Text], seen[k.ID] = true, true
		for _, r := range body[:30] {
			letters[r]++
		}
	}
	// The checksum is CRC-32 (IEEE) in base 62, and what is wrong in it is not looked up.
	k := b.key(customer.NewKey{Admin: true})
	body, sum := k.Text[:len(k.Text)-6], uint32(0)
	for _, r := range k.Text[len(body):] {
		sum = sum*62 + uint32(strings.IndexRune(base62, r))
	}
	b.equal(sum, crc32.ChecksumIEEE([]byte(body)))
	fresh := setup(t)
	_, err := fresh.Authenticate(t.Context(), body+"000000", home)
	b.refused(err, customer.CodeKeyUnknown)
	b.equal(fresh.record.reads.Load(), int64(0))
	_, err = fresh.Authenticate(t.Context(), k.Text, admin.Addr())
	b.refused(err, customer.CodeKeyUnknown)
	b.equal(fresh.record.reads.Load(), int64(1))

	// 9,000 letters over 62: one that is not there, or twice as often as it should be, is no chance.
	for _, r := range base62 {
		if letters[r] < 60 || letters[r] > 290 {
			t.Errorf("%c is there %d times", r, letters[r])
		}
	}
	b.equal(len(letters), 62)
	k = b.key(customer.NewKey{Customer: "demo"})
	if !strings.HasPrefix(k.Text, "cs_demo_") || k.Kind != store.Demo {
		t.Errorf("a demo customer's key is %q, %s", k.Text, k.Kind)
	}
	if k := b.key(customer.NewKey{Customer: "live"}); !strings.HasPrefix(k.Text, "cs_live_") || k.Kind != store.Live {
		t.Errorf("a customer's key is %q, %s", k.Text, k.Kind)
	}
	// Nothing in the record holds the text, or a part of it.
	keys, err := b.record.Keys(t.Context())
	b.ok(err)
	audit, err := b.record.AuditOf(t.Context(), "", time.Time{}, 1000)
	b.ok(err)
	if all := fmt.Sprintf("%+v %+v", keys, audit); strings.Contains(all, k.Text[8:20]) || strings.Contains(all, k.Text[len(k.Text)-6:]) {
		t.Error("the record holds a part of the text")
	}
}

// TestTwoActive: at most two are active, whoever asks at once.
func TestTwoActive(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var made atomic.Int64
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			_, err := b.manage.CreateKey(t.Context(), customer.NewKey{Customer: "live"})
			if err == nil {
				made.Add(1)
			} else {
				b.refused(err, customer.CodeTooManyKeys)
			}
		})
	}
	wg.Wait()
	b.equal(made.Load(), int64(2))
	// Operators may have one each.
	for range 5 {
		b.key(customer.NewKey{Admin: true})
	}
}

func TestErrorsAreCoded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	k := b.key(customer.NewKey{Customer: "live"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Authenticate(ctx, k.Text, home); !errors.Is(err, context.Canceled) {
		t.Errorf("expected the context's end, got %v", err)
	}
	if _, err := b.Authenticate(t.Context(), k.Text, home); err != nil {
		t.Errorf("one caller that has gone away keeps others out: %v", err)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	bench := setup(b)
	k := bench.key(customer.NewKey{Customer: "live"})
	for i := range 2000 {
		if i%2 == 0 {
			bench.key(customer.NewKey{Admin: true})
		}
	}
	unknown := newText(b)
	ctx := b.Context()
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p, err := bench.Authenticate(ctx, k.Text, home)
			if err == nil {
				_, err = bench.Customer(ctx, p, "live", customer.Procedures)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("unknown", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := bench.Authenticate(ctx, unknown, home); err == nil {
				b.Fatal("it was let in")
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := bench.Authenticate(ctx, k.Text, home); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
