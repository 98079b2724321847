package store

import "time"

// Schedule orders a job again and again.
type Schedule struct {
	ID, Customer, Name string
	// Document is set where a document has it, and the API cannot change it.
	Document  bool
	Procedure string
	// Request is the body of the order, as of Job.Request, without the dates of a window.
	Request []byte
	Cron    string // five fields
	Zone    string // IANA name
	// Overlap says what happens at a tick while the job of one before runs: skip (default), queue.
	Overlap string
	// Missed says what happens with ticks at which nothing ran: once (default) makes one job of all, skip none.
	Missed string
	Jitter time.Duration
	// Window is set where from_date is given by the last success: its next_since, less WindowOverlap.
	Window        bool
	WindowOverlap time.Duration
	Enabled       bool

	CreatedAt, UpdatedAt time.Time
	// NextTick is the tick that comes, of the schedule itself; what is due is NextTick and its jitter. Zero is none.
	NextTick time.Time
	// LastTick is the last one that was decided on, LastJob the job that it made, and LastOutcome what became of it:
	// "job", "skipped: overlap", …
	LastTick    time.Time
	LastJob     string
	LastOutcome string
	// NextSince is where the window of the next job begins: of the last job that completed.
	NextSince string
}
