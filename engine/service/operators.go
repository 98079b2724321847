package service

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/api"
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
		work := admin.NewHandler(admin.Config{Manage: func(r *http.Request) (admin.Manage, error) {
			return s.registry.Manage(r.Context().Value(actorKey{}).(customer.Actor)), nil
		}})
		mux.HandleFunc(admin.Prefix, func(w http.ResponseWriter, r *http.Request) {
			actor, err := s.operator(r)
			if err != nil {
				s.cfg.Log.WarnContext(r.Context(), "administration was refused", "from", r.RemoteAddr, "code", fault.From(err).Code)
				api.Refuse(w, err, s.cfg.Now())
				return
			}
			work.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), actorKey{}, actor)))
		})
	}
	return mux
}

type actorKey struct{}

// operator is whose key comes with a request. An address from which many came without a good one is told to wait.
func (s *Service) operator(r *http.Request) (customer.Actor, error) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return customer.Actor{}, fault.New(customer.CodeAddress, fault.Usage, "it is not known where the request comes from")
	}
	from := peer.Addr().Unmap()
	p, err := s.principal(r, from)
	switch {
	case api.Unauthorized(err):
		if limited := s.admission.Take(admission.Anonymous, admission.AddressKey(from)).Err(); limited != nil {
			s.metrics.Refused(string(admission.Anonymous))
			err = limited
		}
		return customer.Actor{}, err
	case err != nil:
		return customer.Actor{}, err
	case !p.Scopes.Has(customer.Admin):
		return customer.Actor{}, fault.New(customer.CodeScope, fault.Usage, "the key is no operator's")
	}
	return customer.Actor{Who: "key:" + p.KeyID, From: from.String()}, nil
}

func (s *Service) principal(r *http.Request, from netip.Addr) (customer.Principal, error) {
	text, err := customer.ParseBearer(r.Header.Get("Authorization"))
	if err != nil {
		return customer.Principal{}, err
	}
	return s.registry.Authenticate(r.Context(), text, from)
}

// onLoopback reports whether a listener's address is reached from this machine only.
func onLoopback(l *listener) bool {
	address, err := netip.ParseAddrPort(l.address())
	return err == nil && mysqlurl.IsLoopback(address.Addr().String())
}
