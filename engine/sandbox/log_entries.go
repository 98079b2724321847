package sandbox

import "strconv"

var logColumns = columnNames(`log_entry_id log_kind severity user_id module action patient_id workstation message
	ts_4_insert ts_4_update`)

// logged are the appointments for each log entry.
const logged = 4

func (g *generator) logEntries() int64 { return (g.appointments + logged - 1) / logged }

// logEntry fills one row of the log_entry table. Entries are spread evenly over the time of the practice.
func (g *generator) logEntry(row int64, out []Value) {
	r := sequence(g.seed, forLog, row)
	first, all := bookingFirst*daySeconds, g.logEntries()
	from, until := first+portion(practiceNow-first, row, all), first+portion(practiceNow-first, row+1, all)
	g.fillLogEntry(&r, row, from+r.below(until-from), out)
}

// fillLogEntry fills a row of the log that was written at a time.
func (g *generator) fillLogEntry(r *random, row, at int64, out []Value) {
	set := columns(out)
	set(integer(row + 1))
	if r.percent(15) {
		event := pick(r, softwareEvents)
		set(text("Application"))
		set(text(event.severity))
		set(Value{})
		set(text(event.module))
		set(text(event.action))
		set(Value{})
		set(Value{})
		set(optional(event.message))
	} else {
		event := pick(r, userEvents)
		set(text("Audit"))
		set(text(event.severity))
		set(integer(1 + r.below(2*g.practitioners())))
		set(text(event.module))
		set(text(event.action))
		if event.ofPatient {
			set(integer(1 + r.below(g.patients)))
		} else {
			set(Value{})
		}
		set(text("DESK-" + strconv.FormatInt(1+r.below(12), 10)))
		set(optional(event.message))
	}
	set(dateTime(at))
	set(dateTime(at))
}

// logEvent is something that is logged again and again.
type logEvent struct {
	severity, module, action, message string
	ofPatient                         bool
}

var userEvents = []logEvent{
	{"Info", "Patients", "View", "", true}, {"Info", "Patients", "View", "", true}, {"Info", "Patients", "Update", "Mobile changed", true},
	{"Info", "Treatments", "View", "", true}, {"Info", "Treatments", "Create", "", true}, {"Info", "Appointments", "Update", "Moved", true},
	{"Info", "Accounts", "Print", "Statement \"printed\"", true}, {"Warning", "Patients", "Export", "List exported:\n1 of 1 pages", false},
	{"Info", "Session", "Login", "", false}, {"Warning", "Session", "Login refused", "Wrong password", false}, {"Info", "Session", "Logout", "", false},
}

var softwareEvents = []logEvent{
	{"Info", "Backup", "Completed", "", false}, {"Error", "Backup", "Failed", "No space left on D:\\backup", false},
	{"Info", "Reminders", "Sent", "", false}, {"Warning", "Health funds", "Timeout", "HICAPS: no answer within 30 s ⏱", false},
}
