package service

import (
	"context"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/service/api"
	"github.com/cipherstream/cipherstream/engine/service/config"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/schedule"
	"github.com/cipherstream/cipherstream/engine/service/telemetry"
	sdkconfig "github.com/cipherstream/cipherstream/sdk/config"
)

// schedules are those of a process: what makes jobs of their ticks, and holds those of documents against the catalogue.
type schedules struct {
	*schedule.Scheduler
	cfg    *Config
	orders *api.Orders
}

// newSchedules makes them; nothing is done before Start.
func newSchedules(cfg *Config, registry *customer.Registry, metrics *telemetry.Metrics) (*schedules, error) {
	s := &schedules{cfg: cfg}
	var err error
	if s.orders, err = api.NewOrders(cfg.Engine); err != nil {
		return nil, err
	}
	s.Scheduler, err = schedule.New(schedule.Config{Record: cfg.Record, Orders: s.orders, Customers: registry, Public: api.Public,
		Observer: metrics.Schedules(), Log: cfg.Log})
	return s, err
}

// use has the record hold the schedules of documents that were checked.
func (s *schedules) use(ctx context.Context, set *config.Settings) error {
	var all []schedule.Spec
	for _, one := range set.Schedules {
		all = append(all, one.Spec)
	}
	return s.Sync(ctx, all)
}

// check says what the procedures say of the schedules of documents, every mistake with its place.
func (s *schedules) check(set *config.Settings) error {
	return CheckSchedules(set, s.orders, s.cfg.Now()).Err()
}

// CheckSchedules says what the procedures of a catalogue say of the schedules of a configuration, every mistake with its place.
func CheckSchedules(set *config.Settings, orders *api.Orders, at time.Time) (diags diag.List) {
	for i := range set.Schedules {
		one := &set.Schedules[i]
		request, err := one.Example(at)
		if err != nil {
			diags.Add(diag.At(one.At("window"), schedule.CodeWindow, "%v", err))
			continue
		}
		for _, d := range orders.Mistakes(one.Customer, one.Procedure, request, one.Moving) {
			path := []string{"request"}
			switch {
			case d.Field == "window":
				path = []string{d.Field}
			case d.Field != "":
				path = append(path, strings.TrimPrefix(d.Field, "/"))
			case d.Code == string(api.UnknownProcedure), d.Code == string(api.ConflictingParameters):
				path = []string{"procedure"}
			}
			diags.Add(one.Problem(sdkconfig.Problem{Path: path, Code: config.CodeSchedule, Message: d.Message, Hint: d.Suggestion}))
		}
	}
	return diags.Normalise()
}
