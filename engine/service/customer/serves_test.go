package customer_test

import (
	"testing"

	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store"
)

// TestServes: a worker has the customers that are declared and in service, as the last reload has them.
func TestServes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, err := b.Serves(t.Context(), "live")
	b.ok(err)
	if c.ID != "live" || c.Name != "Clinic" {
		t.Errorf("%+v", c)
	}
	_, err = b.Serves(t.Context(), "nobody")
	b.refused(err, customer.CodeUnknown)
	b.ok(b.record.SetDisabled(t.Context(), "live", true, store.Audit{}))
	_, err = b.Serves(t.Context(), "live")
	b.refused(err, customer.CodeDisabled)
	b.ok(b.record.SetDisabled(t.Context(), "live", false, store.Audit{}))
	b.ok(b.Replace(t.Context(), nil))
	_, err = b.Serves(t.Context(), "live")
	b.refused(err, customer.CodeUnknown)
}
