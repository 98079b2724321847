// Package sandbox owns the practice database for trying things out: a
// deterministic generator of a dental practice's rows, and a bulk loader that puts
// them into a real MySQL or MariaDB server (Load). Package embedded, below it, serves
// them on loopback.
//
// Both run the same SQL, given as a file system that holds schema.sql and
// procedures/*.sql. The same Options give the same rows, whatever reads them and
// in whatever pieces.
//
// Each row is computed from its number alone. What makes that possible: the book
// (book.go) knows the patient of an appointment and the appointments of a patient;
// the selections (outcomes.go) know which appointments were attended, with a bit for
// each; and the accounts (accounts.go) lay down how many rows in the ledger's tables
// follow from each attended appointment.
//
// It never reads a clock for data, never keeps all rows in memory, and never
// changes a table that it did not make unless it is told to replace it.
package sandbox

import (
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Fault codes of this package.
const (
	// CodeOptions: the size of the data is out of range.
	CodeOptions = "sandbox.options"
	// CodeUnavailable: the program that holds the embedded server is not there.
	CodeUnavailable = "sandbox.unavailable"
	// CodeStart: the embedded server could not be started.
	CodeStart = "sandbox.start"
	// CodeSQL: the practice database's SQL is missing or unusable.
	CodeSQL = "sandbox.sql"
	// CodeDSN: the connection URL is malformed.
	CodeDSN = "sandbox.dsn"
	// CodeConnect: the server is away, or refused the user.
	CodeConnect = "sandbox.connect"
	// CodeExists: the database already holds objects that loading would overwrite.
	CodeExists = "sandbox.exists"
	// CodeLoad: the server refused a statement or rows while loading.
	CodeLoad = "sandbox.load"
)

// Rows of a practice of scale 1.
const (
	patientsPerScale     = 2_000
	appointmentsPerScale = 20_000
)

// Limits: patients keep keys inside their column types, appointments keep what
// must be known about each of them to 1.2 GB.
const (
	maxPatients     = 1 << 30
	maxAppointments = 1 << 32
)

// Options choose the generated data. The zero value is a practice of scale 1
// with seed 0.
type Options struct {
	// Seed chooses the practice: other names, dates and choices, same shape.
	Seed uint64
	// Scale multiplies the size of a small practice: 2,000 patients and 20,000
	// appointments. 0 means 1.
	Scale float64
	// Patients and Appointments choose the number of rows directly, when not 0. The
	// other tables follow from these two: in all about 10 rows an appointment.
	Patients, Appointments int64
}

// rows resolves the options to row counts.
func (o Options) rows() (patients, appointments int64, err error) {
	scale := o.Scale
	if scale == 0 {
		scale = 1
	}
	if !(scale > 0 && scale*appointmentsPerScale <= maxAppointments) {
		return 0, 0, fault.New(CodeOptions, fault.Usage, "scale must be above 0 and at most %d, but is %v", maxAppointments/appointmentsPerScale, o.Scale)
	}
	patients, appointments = o.Patients, o.Appointments
	if patients == 0 {
		patients = min(max(1, int64(scale*patientsPerScale)), maxPatients)
	}
	if appointments == 0 {
		appointments = max(1, int64(scale*appointmentsPerScale))
	}
	if patients < 0 || patients > maxPatients {
		return 0, 0, fault.New(CodeOptions, fault.Usage, "the number of patients must be from 1 to %d, but is %d", maxPatients, patients)
	}
	if appointments < 0 || appointments > maxAppointments {
		return 0, 0, fault.New(CodeOptions, fault.Usage, "the number of appointments must be from 1 to %d, but is %d", int64(maxAppointments), appointments)
	}
	return patients, appointments, nil
}
