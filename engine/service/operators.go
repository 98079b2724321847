package service

import (
	"net/http"
	"net/netip"

	"github.com/cipherstream/cipherstream/engine/service/api/admin"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/mysqlurl"
)

// operations is what operators reach on their listener: health, metrics, and the work of an operator with a key, where
// nobody on the way can read that.
func (s *Service) operations(secure bool) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", s.api.Operations())
	if secure {
		mux.Handle(admin.Prefix, admin.NewHandler(admin.Config{Manage: s.manage}))
	}
	return mux
}

// manage is the work of the operator whose key comes with a request.
func (s *Service) manage(r *http.Request) (admin.Manage, error) {
	text, err := customer.ParseBearer(r.Header.Get("Authorization"))
	if err != nil {
		return nil, err
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return nil, fault.New(customer.CodeAddress, fault.Usage, "it is not known where the request comes from")
	}
	from := peer.Addr().Unmap()
	p, err := s.registry.Authenticate(r.Context(), text, from)
	switch {
	case err != nil:
		return nil, err
	case !p.Scopes.Has(customer.Admin):
		return nil, fault.New(customer.CodeScope, fault.Usage, "the key is no operator's")
	}
	return s.registry.Manage(customer.Actor{Who: "key:" + p.KeyID, From: from.String()}), nil
}

// onLoopback reports whether a listener's address is reached from this machine only.
func onLoopback(l *listener) bool {
	address, err := netip.ParseAddrPort(l.address())
	return err == nil && mysqlurl.IsLoopback(address.Addr().String())
}
