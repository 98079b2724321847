package customer

import (
	"context"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Serves returns a customer whose orders may be run here without anybody who calls: one that is declared and in service.
func (r *Registry) Serves(ctx context.Context, id string) (*Customer, error) {
	c := r.customers.Load().byID[id]
	if c == nil {
		return nil, fault.New(CodeUnknown, fault.Usage, "the customer %q is not declared here", id).
			WithHint("declare it for every process that runs jobs, or for none")
	}
	a, err := r.current(ctx)
	if err != nil {
		return nil, err
	}
	if a.disabled[id] {
		return nil, disabled(id)
	}
	return &c.Customer, nil
}

func disabled(id string) error {
	return fault.New(CodeDisabled, fault.Usage, "the customer %s is out of service", id).
		WithHint("ask the operator of the service")
}
