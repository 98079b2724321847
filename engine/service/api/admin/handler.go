package admin

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Config is what a handler needs.
type Config struct {
	// Manage says whose work a request is, or refuses it.
	Manage func(r *http.Request) (Manage, error)
	// Fail answers an error; nil answers with the fault itself, as on the socket.
	Fail func(w http.ResponseWriter, r *http.Request, err error)
}

// operation is what a request has done. Its arguments are the parts of the path; the result is the answer's body.
type operation func(r *http.Request, m Manage) (any, error)

// operations are all that there are, by method and path under Prefix.
var operations = map[string]operation{
	"GET keys": func(r *http.Request, m Manage) (any, error) {
		keys, err := m.ListKeys(r.Context(), r.URL.Query().Get("customer"))
		return keyList{keys}, err
	},
	"POST keys": func(r *http.Request, m Manage) (any, error) {
		var want customer.NewKey
		if err := decode(r, &want); err != nil {
			return nil, err
		}
		return m.CreateKey(r.Context(), want)
	},
	"POST keys/{key}/revoke": func(r *http.Request, m Manage) (any, error) {
		return bare(r, func() (any, error) { return m.RevokeKey(r.Context(), r.PathValue("key")) })
	},
	"POST keys/{key}/rotate": func(r *http.Request, m Manage) (any, error) {
		var want rotation
		if err := decode(r, &want); err != nil {
			return nil, err
		}
		if want.GraceSeconds < 0 || want.GraceSeconds > int64(mostGrace/time.Second) {
			return nil, badRequest("grace_seconds is 0 to %d", int64(mostGrace/time.Second))
		}
		return m.RotateKey(r.Context(), r.PathValue("key"), time.Duration(want.GraceSeconds)*time.Second)
	},
	"GET customers": func(r *http.Request, m Manage) (any, error) {
		customers, err := m.ListCustomers(r.Context())
		return customerList{customers}, err
	},
	"POST customers/{customer}/enable": func(r *http.Request, m Manage) (any, error) {
		return bare(r, func() (any, error) { return m.Enable(r.Context(), r.PathValue("customer")) })
	},
	"POST customers/{customer}/disable": func(r *http.Request, m Manage) (any, error) {
		return bare(r, func() (any, error) { return m.Disable(r.Context(), r.PathValue("customer")) })
	},
	"GET deliveries": func(r *http.Request, m Manage) (any, error) { return m.Deliveries(r.Context()) },
	"POST maintenance": func(r *http.Request, m Manage) (any, error) {
		var want customer.Maintenance
		if err := decode(r, &want); err != nil {
			return nil, err
		}
		return m.Announce(r.Context(), want)
	},
	"GET customers/{customer}/sealing-keys": func(r *http.Request, m Manage) (any, error) {
		keys, err := m.ListSealingKeys(r.Context(), r.PathValue("customer"))
		return sealingKeyList{keys}, err
	},
	"POST customers/{customer}/sealing-keys": func(r *http.Request, m Manage) (any, error) {
		return bare(r, func() (any, error) { return m.NewSealingKey(r.Context(), r.PathValue("customer")) })
	},
	"POST customers/{customer}/sealing-keys/{key}/activate": func(r *http.Request, m Manage) (any, error) {
		return bare(r, func() (any, error) {
			return m.ActivateSealingKey(r.Context(), r.PathValue("customer"), r.PathValue("key"))
		})
	},
	"POST customers/{customer}/sealing-keys/{key}/retire": func(r *http.Request, m Manage) (any, error) {
		return bare(r, func() (any, error) {
			return m.RetireSealingKey(r.Context(), r.PathValue("customer"), r.PathValue("key"))
		})
	},
}

// queries are the parameters that an operation takes in its query. The others take none.
var queries = map[string][]string{"GET keys": {"customer"}}

// bare runs an operation that takes no body, or an empty object.
func bare(r *http.Request, do func() (any, error)) (any, error) {
	if err := decode(r, &nothing{}); err != nil {
		return nil, err
	}
	return do()
}

// NewHandler returns the handler of the operations under Prefix. Whoever mounts it has Config.Manage see to it that
// only operators come in.
func NewHandler(cfg Config) http.Handler {
	if cfg.Fail == nil {
		cfg.Fail = fail
	}
	mux := http.NewServeMux()
	for name, do := range operations {
		method, under, _ := strings.Cut(name, " ")
		mux.HandleFunc(method+" "+Prefix+under, func(w http.ResponseWriter, r *http.Request) {
			// The answer may hold a key, which no cache may keep.
			w.Header().Set("Cache-Control", "no-store")
			m, err := cfg.Manage(r)
			if err == nil {
				err = checkQuery(r.URL, queries[name])
			}
			var answer any
			if err == nil {
				r.Body = http.MaxBytesReader(w, r.Body, mostBody)
				answer, err = do(r, m)
			}
			if err != nil {
				cfg.Fail(w, r, err)
				return
			}
			write(w, http.StatusOK, answer)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The mux would answer in its own words, and redirect what is not clean.
		if _, pattern := mux.Handler(r); pattern == "" || path.Clean(r.URL.Path) != r.URL.Path {
			cfg.Fail(w, r, badRequest("there is no such operation under %s", Prefix))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// checkQuery refuses what an operation does not take, and what is there twice.
func checkQuery(u *url.URL, takes []string) error {
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return badRequest("the query of the address cannot be read")
	}
	for name, all := range values {
		if !slices.Contains(takes, name) || len(all) > 1 {
			return badRequest("the query of the address has a parameter that the operation does not take, or one twice").
				WithHint("it takes: %s", cmp.Or(strings.Join(takes, ", "), "none"))
		}
	}
	return nil
}

func badRequest(format string, args ...any) *fault.Fault {
	return fault.New(CodeRequest, fault.Usage, format, args...)
}

// statuses are those of codes; customers, who cannot come here, have the table of the API.
var statuses = map[string]int{
	CodeTooLarge:                http.StatusRequestEntityTooLarge,
	CodePeer:                    http.StatusForbidden,
	customer.CodeUnknown:        http.StatusNotFound,
	customer.CodeNoKey:          http.StatusNotFound,
	customer.CodeSealingUnknown: http.StatusNotFound,
	customer.CodeTooManyKeys:    http.StatusConflict,
	customer.CodeKeyEnded:       http.StatusConflict,
	store.CodeDiskFull:          http.StatusServiceUnavailable,
	store.CodeReadOnly:          http.StatusServiceUnavailable,
	store.CodeAway:              http.StatusServiceUnavailable,
	store.CodeClosed:            http.StatusServiceUnavailable,
	store.CodeFailed:            http.StatusServiceUnavailable,
}

// fail answers with a fault, whole: whoever asks is an operator on the machine itself.
func fail(w http.ResponseWriter, _ *http.Request, err error) {
	f := fault.From(err)
	status, known := statuses[f.Code]
	switch {
	case known:
	case f.Class == fault.Usage:
		status = http.StatusBadRequest
	default:
		status = http.StatusInternalServerError
	}
	write(w, status, problem{problemBody{f.Code, f.Message, f.Hint, f.Details, string(f.Class), f.Retryable}})
}

func write(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // a time beyond the year 9999
		status = http.StatusInternalServerError
		text = []byte(`{"error":{"code":"internal","message":"the answer cannot be written as JSON"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // whoever has gone away does not read it
}
