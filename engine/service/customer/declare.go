package customer

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/envelope"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// declared are the customers of a configuration, checked.
type declared struct {
	all  []*one // sorted by id
	byID map[string]*one
}

// one is a customer, and the keys that the configuration gives for it.
type one struct {
	Customer
	keys []declaredKey
}

type declaredKey struct {
	id  string
	key config.Secret
}

// IDPattern is that of a customer's identifier: without a colon, because of the AAD of sealed rows.
const IDPattern = `^[A-Za-z0-9_-]{1,64}$`

var idPattern = regexp.MustCompile(IDPattern)

// ValidID reports whether a text can be a customer's identifier.
func ValidID(id string) bool { return idPattern.MatchString(id) }

// declare checks declarations, and makes copies that nobody else changes. Its error says all that is wrong.
func declare(customers []Customer) (*declared, error) {
	d := &declared{byID: make(map[string]*one, len(customers))}
	keyOf := map[string]string{} // the customer of each sealing key
	var wrong []string
	for i, c := range customers {
		say := func(format string, args ...any) {
			wrong = append(wrong, fmt.Sprintf("customer %q: ", c.ID)+fmt.Sprintf(format, args...))
		}
		if !ValidID(c.ID) {
			wrong = append(wrong,
				fmt.Sprintf("customer %d: its id is not 1 to 64 letters, digits, underscores and dashes", i+1))
			continue
		}
		if d.byID[c.ID] != nil {
			say("it is declared twice")
			continue
		}
		o := &one{Customer: c}
		var err error
		if o.Networks, err = networks(c.Networks); err != nil {
			say("%v", err)
		}
		if c.Streams < 0 {
			say("it may have %d streams at once", c.Streams)
		}
		for n, secret := range c.SealingKeys {
			key, err := declareKey(secret)
			if err != nil {
				say("sealing key %d: %s", n+1, fault.From(err).Message)
				continue
			}
			// The uses of a key are counted for a customer, and a key that two share would be used twice as often.
			if other, there := keyOf[key.id]; there {
				say("sealing key %d, %s, is there already, for %q", n+1, key.id, other)
				continue
			}
			keyOf[key.id] = c.ID
			o.keys = append(o.keys, key)
		}
		o.SealingKeys = slices.Clone(c.SealingKeys)
		o.Allow.Tables, o.Allow.Procedures = slices.Clone(c.Allow.Tables), slices.Clone(c.Allow.Procedures)
		o.Attributes = maps.Clone(c.Attributes)
		d.byID[c.ID] = o
		d.all = append(d.all, o)
	}
	if len(wrong) > 0 {
		return nil, fault.New(CodeInvalid, fault.Usage, "%s", strings.Join(wrong, "; "))
	}
	slices.SortFunc(d.all, func(a, b *one) int { return strings.Compare(a.ID, b.ID) })
	return d, nil
}

func declareKey(secret config.Secret) (declaredKey, error) {
	ring, err := envelope.ParseRing(secret.Reveal(), "")
	if err != nil {
		return declaredKey{}, err
	}
	if n := len(ring.IDs()); n != 1 {
		return declaredKey{}, fault.New(CodeInvalid, fault.Usage,
			"it is %d keys in one; give each by itself, the one that seals first", n)
	}
	return declaredKey{ring.Active(), config.NewSecret(strings.TrimSpace(secret.Reveal()))}, nil
}

// networks checks networks, and writes those of IPv4 that are written as IPv6 as what they are.
func networks(given []netip.Prefix) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, n := range given {
		switch {
		case !n.IsValid():
			return nil, fmt.Errorf("a network is none: %v", n)
		case n.Addr().Is4In6() && n.Bits() < 96:
			return nil, fmt.Errorf("the network %v holds all of IPv4 and parts of IPv6; write it as two", n)
		case n.Addr().Is4In6():
			n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
		}
		all = append(all, n.Masked())
	}
	return all, nil
}

// contains reports whether an address is in one of the networks. One of IPv4 that a socket of IPv6 gives as
// ::ffff:a.b.c.d is the same address, and a zone says nothing about a network.
func contains(networks []netip.Prefix, address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(address) })
}
