// Package schedule orders jobs again and again: it knows when a schedule has a tick, what becomes of one that is late
// or whose job before still runs, and from which day on the next job reads. What is to be remembered it asks of the
// record, which decides each tick once among all processes; what a job is made of it asks of those who answer requests.
package schedule

// Codes of what is wrong with a schedule.
const (
	// CodeCron: the expression cannot be read, or never happens.
	CodeCron = "schedule.cron"
	// CodeZone: there is no such time zone.
	CodeZone = "schedule.time_zone"
)
